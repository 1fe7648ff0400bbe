// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"winery/internal/load"
	"winery/test/harness"
)

// production measures reads and writes at once with the sizes of a large archive,
// while the shards are packed to Ceph, and the memory that a large object takes.
func (b *bench) production(ctx context.Context) (err error) {
	pool, err := b.cephPool(ctx)
	if err != nil {
		return err
	}
	f, err := b.fleet(ctx, harness.Options{ShardMaxSize: 2 << 30, NoDelete: true, Writers: writers, CephConf: b.services.CephConf, CephPool: pool})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for _, role := range []string{harness.Packer, harness.Mapper, harness.Cleaner} {
		if _, err := f.Start(role); err != nil {
			return err
		}
	}
	s, err := goStore(ctx, f, 1)
	if err != nil {
		return err
	}
	s.objects.Sizes, s.load = load.Production, s.client // which tells when the first byte comes
	if err := s.fill(ctx, 500); err != nil {
		return err
	}
	var written []load.Result
	both := row{what: "production's sizes: get, 16 clients, while 16 add", bytes: true}
	both.ours = on(s, func(ctx context.Context) (load.Result, error) {
		added := make(chan error)
		go func() {
			r, err := load.Clients{To: s.load, Count: 16, Batch: 1, Time: b.time}.Add(ctx, s.objects, unlimited, s.stored)
			written = append(written, r)
			added <- err
		}()
		result, err := s.get(ctx, 16, b.time)
		return result, errors.Join(err, <-added)
	})
	both.extra = func() string {
		p99 := func(r load.Result) float64 { return float64(r.Latency.ValueAtQuantile(99)) / 1e3 }
		return fmt.Sprintf("meanwhile added: %s MB/s, p99 %.1f ms", number(median(written, load.Result.Throughput)), median(written, p99))
	}
	if err := errors.Join(b.measure(ctx, both), s.stop()); err != nil {
		return err
	}
	return b.measure(ctx, row{what: "add, one object of 100 MiB, the first of a writer", bytes: true, ours: firstAdd(f, 100<<20)})
}

// firstAdd has a new writer store one object of so many bytes.
func firstAdd(f *harness.Fleet, size int64) work {
	seed := uint64(1)
	return func(ctx context.Context) (load.Result, usage, error) {
		seed++
		s, err := goStore(ctx, f, seed)
		if err != nil {
			return load.Result{}, usage{}, err
		}
		s.objects.Sizes = func(*rand.Rand) int64 { return size }
		result, used, err := on(s, func(ctx context.Context) (load.Result, error) {
			return load.Clients{To: s.load, Count: 1, Batch: 1}.Add(ctx, s.objects, 1, s.stored)
		})(ctx)
		return result, used, errors.Join(err, s.stop())
	}
}
