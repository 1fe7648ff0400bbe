// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"winery/internal/load"
	"winery/test/harness"
)

// images measures gets of objects in images of a directory pool.
func (b *bench) images(ctx context.Context) (err error) {
	f, ours, err := b.packed(ctx, harness.Options{ShardMaxSize: 48 << 20, NoDelete: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	same := harness.Options{ShardMaxSize: 48 << 20, DSN: f.Config.Database.DSN, Images: filepath.Dir(f.File)}
	beside, err := b.fleet(ctx, same)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, beside.Close()) }()
	python, err := b.pythonStore(ctx, beside, 2)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, python.stop()) }()
	python.stored = ours.stored
	for _, clients := range []int{64, 8} {
		what := fmt.Sprintf("get from directory images, %d clients", clients)
		if err := b.measure(ctx, row{what: what, ours: b.gets(ours, clients), python: b.gets(python, clients), server: ours}); err != nil {
			return err
		}
	}
	return b.slowLookups(ctx, same, ours)
}

// slowLookups measures gets where PostgreSQL takes a millisecond for each object that
// it looks up, as with an index that is larger than its memory. pg_sleep adds a tenth to a millisecond, but waits for
// two if it is asked for one, which it computes from a clock that has no exact milliseconds.
func (b *bench) slowLookups(ctx context.Context, o harness.Options, from *store) (err error) {
	_, err = psql(ctx, o.DSN, "ALTER TABLE signature2shard RENAME TO fast",
		`CREATE VIEW signature2shard AS SELECT fast.* FROM fast CROSS JOIN LATERAL (SELECT pg_sleep(0.0009) WHERE fast.signature IS NOT NULL) wait`)
	if err != nil {
		return err
	}
	o.ReadOnly = true
	f, err := b.fleet(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	s, err := goStore(ctx, f, 1)
	if err != nil {
		return err
	}
	s.stored = from.stored
	for _, clients := range []int{64, 8} {
		if err := b.measure(ctx, row{what: fmt.Sprintf("get, 1 ms a lookup in PostgreSQL, %d clients", clients), ours: b.gets(s, clients)}); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) gets(s *store, clients int) work {
	return on(s, func(ctx context.Context) (load.Result, error) { return s.get(ctx, clients, b.time) })
}

// packed makes a fleet whose objects are all in images, and starts a writer that serves them.
func (b *bench) packed(ctx context.Context, o harness.Options) (*harness.Fleet, *store, error) {
	f, err := b.fleet(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	s, err := b.pack(ctx, f, b.inImages, load.Source)
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, s, nil
}

// pack fills a fleet with objects, packs them, and starts a writer.
func (b *bench) pack(ctx context.Context, f *harness.Fleet, objects int, sizes load.Sizes) (*store, error) {
	filled, err := goStore(ctx, f, 1)
	if err != nil {
		return nil, err
	}
	filled.objects.Sizes = sizes
	if err := errors.Join(filled.fill(ctx, objects), filled.stop()); err != nil {
		return nil, err
	}
	if _, err := f.Ctl(ctx, "shards", "seal", "--pool-name", f.Config.ActivePool); err != nil {
		return nil, err
	}
	for _, role := range []string{harness.Packer, harness.Mapper, harness.Cleaner} {
		p, err := f.Start(role, "--stop-instead-of-waiting")
		if err != nil {
			return nil, err
		}
		if err := p.Err(); err != nil {
			return nil, err
		}
	}
	s, err := goStore(ctx, f, 3)
	if err != nil {
		return nil, err
	}
	s.stored, s.objects.Sizes = filled.stored, sizes
	return s, nil
}
