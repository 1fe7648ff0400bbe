// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"winery/internal/load"
	"winery/test/harness"
)

// rbd measures gets from images on Ceph, and packing to Ceph.
func (b *bench) rbd(ctx context.Context) error {
	for _, part := range []func(context.Context, harness.Options) error{b.getRBD, b.packRBD} {
		pool, err := b.cephPool(ctx)
		if err != nil {
			return err
		}
		if err := part(ctx, harness.Options{ShardMaxSize: 48 << 20, NoDelete: true, CephConf: b.services.CephConf, CephPool: pool}); err != nil {
			return err
		}
	}
	return nil
}

// cephPool makes pools of Ceph for a fleet: one for images, and one for their data.
func (b *bench) cephPool(ctx context.Context) (name string, err error) {
	b.made++
	name = fmt.Sprintf("bench%d", b.made)
	for _, pool := range []string{name, name + "-data"} {
		if _, err := b.ceph(ctx, "ceph", "osd", "pool", "create", pool, "16"); err != nil {
			return "", err
		}
		if _, err := b.ceph(ctx, "ceph", "osd", "pool", "application", "enable", pool, "rbd"); err != nil {
			return "", err
		}
	}
	return name, nil
}

func (b *bench) getRBD(ctx context.Context, o harness.Options) (err error) {
	f, s, err := b.packed(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	limits, err := b.cephReads(ctx)
	if err != nil {
		return err
	}
	if err := b.measure(ctx, row{what: "get from RBD through librbd, 64 clients", ours: b.gets(s, 64), limits: limits, server: s}); err != nil {
		return err
	}
	if err := b.measure(ctx, row{what: "get from RBD through librbd, 1 client", ours: b.gets(s, 1)}); err != nil {
		return err
	}
	return b.measure(ctx, row{what: "the same, 64 clients, while 8 clients add", ours: on(s, func(ctx context.Context) (load.Result, error) {
		writers, stop := context.WithCancel(ctx)
		added := make(chan error)
		go func() {
			_, err := load.Clients{To: s.load, Count: 8, Batch: 1}.Add(writers, s.objects, unlimited, new(load.IDs))
			added <- err
		}()
		result, err := s.get(ctx, 64, b.time)
		stop()
		return result, errors.Join(err, <-added)
	})})
}

func (b *bench) packRBD(ctx context.Context, o harness.Options) error {
	o.ShardMaxSize = 1 << 30
	full, err := b.fullShard(ctx, o)
	if err != nil {
		return err
	}
	full.remove = func(ctx context.Context) error {
		_, err := b.ceph(ctx, "rbd", "rm", "--no-progress", o.CephPool+"/"+full.name)
		return err
	}
	const image = harness.PoolName + "/bench"
	write := limit{"rbd bench, writes of 4 MiB, 16 in flight", func(ctx context.Context) (float64, error) {
		if _, err := b.ceph(ctx, "rbd", "create", "--size", "1G", "--data-pool", harness.PoolName+"-data", image); err != nil {
			return 0, err
		}
		rate, err := b.rate(ctx, opsPerSecond, "rbd", "bench", "--io-type", "write", "--io-size", "4M", "--io-threads", "16", "--io-total", "512M", image)
		_, removeErr := b.ceph(ctx, "rbd", "rm", "--no-progress", image)
		return rate * 4 * 1.048576, errors.Join(err, removeErr)
	}}
	return b.measure(ctx, row{
		what: "packing to RBD, flushed and verified", bytes: true, limits: []limit{write},
		ours: b.goPacker(full),
	})
}

// cephReads are the rates of random reads without Winery: from an image, and of
// RADOS objects with 9 kB each.
func (b *bench) cephReads(ctx context.Context) ([]limit, error) {
	const image = harness.PoolName + "/bench-read"
	_, err := b.ceph(ctx, "rbd", "create", "--size", "256M", "--data-pool", harness.PoolName+"-data", image)
	if err != nil {
		return nil, err
	}
	if _, err := b.ceph(ctx, "rbd", "bench", "--io-type", "write", "--io-size", "4M", "--io-threads", "16", "--io-total", "256M", image); err != nil {
		return nil, err
	}
	seconds := fmt.Sprint(int(b.time.Seconds()))
	if _, err := b.ceph(ctx, "rados", "-p", harness.PoolName, "bench", seconds, "write", "-b", "9000", "-t", "64", "--no-cleanup"); err != nil {
		return nil, err
	}
	return []limit{
		{"rbd bench, random reads of 8 KiB, 16 in flight", func(ctx context.Context) (float64, error) {
			return b.rate(ctx, opsPerSecond, "rbd", "bench", "--io-type", "read", "--io-pattern", "rand", "--io-size", "8K", "--io-threads", "16", "--io-total", "400M", image)
		}},
		{"rados bench, random reads of 9 kB, 64 in flight", func(ctx context.Context) (float64, error) {
			return b.rate(ctx, averageIOPS, "rados", "-p", harness.PoolName, "bench", seconds, "rand", "-t", "64")
		}},
	}, nil
}

var (
	opsPerSecond = regexp.MustCompile(`elapsed:.*ops/sec: *([0-9.]+)`)
	averageIOPS  = regexp.MustCompile(`Average IOPS: *([0-9.]+)`)
)

// rate runs a benchmark of Ceph and returns the number that the pattern finds.
func (b *bench) rate(ctx context.Context, pattern *regexp.Regexp, program string, args ...string) (float64, error) {
	out, err := b.ceph(ctx, program, args...)
	if err != nil {
		return 0, err
	}
	found := pattern.FindStringSubmatch(out)
	if found == nil {
		return 0, fmt.Errorf("%s %v printed no rate: %s", program, args, out)
	}
	return strconv.ParseFloat(found[1], 64)
}

func (b *bench) ceph(ctx context.Context, program string, args ...string) (string, error) {
	return command(ctx, program, append([]string{"--conf", b.services.CephConf}, args...)...)
}
