// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"winery/internal/load"
	"winery/test/harness"
)

// packing measures the packing of a shard into a directory.
func (b *bench) packing(ctx context.Context) error {
	full, err := b.fullShard(ctx, harness.Options{ShardMaxSize: 1 << 30})
	if err != nil {
		return err
	}
	python := filepath.Join(filepath.Dir(b.python), "swh")
	return b.measure(ctx, row{
		what: "packing to a directory (Go: flushed and verified; Python: neither)", bytes: true,
		ours:   b.goPacker(full),
		python: b.packer(full, python, "--config-file", "CONFIG", "objstorage", "winery", "packer", "--stop-instead-of-waiting"),
	})
}

// fullShard is a database with one full shard, of which copies are packed.
type fullShard struct {
	options        harness.Options
	name           string
	objects, bytes int64
	remove         func(context.Context) error // removes its image
}

func (b *bench) fullShard(ctx context.Context, o harness.Options) (*fullShard, error) {
	f, err := b.fleet(ctx, o)
	if err != nil {
		return nil, err
	}
	s, err := goStore(ctx, f, 1)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	err = errors.Join(s.fill(ctx, b.toPack), s.stop())
	if err == nil {
		_, err = f.Ctl(ctx, "shards", "seal", "--pool-name", f.Config.ActivePool)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	return noteSteps(ctx, f, o)
}

// noteSteps returns the full shard of a fleet, after it made the database note when a shard
// changes its state.
func noteSteps(ctx context.Context, f *harness.Fleet, o harness.Options) (*fullShard, error) {
	o.DSN, o.Images = f.Config.Database.DSN, filepath.Dir(f.File)
	name, err := psql(ctx, o.DSN, `CREATE TABLE bench_step (state text, at timestamptz);
		CREATE FUNCTION bench_note() RETURNS trigger LANGUAGE plpgsql AS
			'BEGIN INSERT INTO bench_step VALUES (new.state, clock_timestamp()); RETURN NULL; END';
		CREATE TRIGGER bench_note AFTER UPDATE ON shards FOR EACH ROW
			WHEN (old.state <> new.state) EXECUTE FUNCTION bench_note()`,
		"SELECT name FROM shards WHERE state = 'full'")
	if err != nil {
		return nil, err
	}
	full := &fullShard{options: o, name: strings.TrimSpace(name)}
	full.remove = func(context.Context) error { return os.Remove(filepath.Join(o.Images, harness.PoolName, full.name)) }
	full.bytes, err = count(ctx, o.DSN, "SELECT sum(octet_length(content)) FROM shard_"+full.name)
	if err == nil {
		full.objects, err = count(ctx, o.DSN, "SELECT count(*) FROM shard_"+full.name)
	}
	return full, err
}

// goPacker measures winery-packer.
func (b *bench) goPacker(full *fullShard) work {
	return b.packer(full, b.program(harness.Packer), "--config", "CONFIG", "--stop-instead-of-waiting")
}

// packer measures a packer on a copy of the full shard, from the moment that it has
// locked the shard until the shard is packed. It removes the image afterwards.
func (b *bench) packer(full *fullShard, program ...string) work {
	return func(ctx context.Context) (result load.Result, used usage, err error) {
		o := full.options
		if o.DSN, err = b.database(ctx, full.options.DSN); err != nil {
			return result, used, err
		}
		f, err := b.fleet(ctx, o)
		if err != nil {
			return result, used, err
		}
		// The pool was that of the database which was copied.
		if _, err := f.Ctl(ctx, "pool", "adopt", f.Config.ActivePool, "--yes"); err != nil {
			return result, used, errors.Join(err, f.Close())
		}
		args := strings.Split(strings.ReplaceAll(strings.Join(program[1:], "\n"), "CONFIG", f.File), "\n")
		cmd := exec.CommandContext(ctx, program[0], args...)
		if used, err = runMeasured(cmd); err != nil {
			return result, used, errors.Join(err, f.Close())
		}
		took, err := psql(ctx, o.DSN, `SELECT extract(epoch FROM packed.at - packing.at)
			FROM bench_step packed, bench_step packing WHERE packed.state = 'packed' AND packing.state = 'packing'`)
		if err != nil {
			return result, used, errors.Join(err, f.Close())
		}
		seconds, err := strconv.ParseFloat(strings.TrimSpace(took), 64)
		result = load.Result{Objects: full.objects, Bytes: full.bytes, Took: time.Duration(seconds * float64(time.Second))}
		err = errors.Join(err, full.remove(ctx), f.Close())
		return result, used, errors.Join(err, b.dropDatabase(ctx, o.DSN))
	}
}
