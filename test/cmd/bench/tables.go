// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"winery/internal/load"
	"winery/test/harness"
)

// tables measures adds and gets of objects in the tables of shards.
func (b *bench) tables(ctx context.Context) (err error) {
	// A shard that is never full: nothing is packed meanwhile.
	options := harness.Options{ShardMaxSize: 1 << 40, NoDelete: true}
	f, err := b.fleet(ctx, options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	more := options
	more.DSN, more.Images, more.Writers = f.Config.Database.DSN, filepath.Dir(f.File), writers
	if options.DSN, err = b.pythonDatabase(ctx); err != nil {
		return err
	}
	beside, err := b.fleet(ctx, options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, beside.Close()) }()
	ours, err := goStore(ctx, f, 1)
	if err != nil {
		return err
	}
	python, err := b.pythonStore(ctx, beside, 2)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, python.stop()) }()
	dsn := f.Config.Database.DSN
	adds := func(what string, ours *store, clients, batch int, limits ...limit) row {
		add := func(s *store) work {
			return on(s, func(ctx context.Context) (load.Result, error) { return s.add(ctx, clients, batch, b.time) })
		}
		return row{what: what, ours: add(ours), python: add(python), limits: limits, server: ours}
	}
	if err := b.measure(ctx, adds("add, one object a request, 64 clients", ours, 64, 1)); err != nil {
		return err
	}
	if err := b.measure(ctx, adds("add, one object a request, 8 clients", ours, 8, 1)); err != nil {
		return err
	}
	raw, err := b.rawCopy(ctx, dsn)
	if err != nil {
		return err
	}
	if err := b.measure(ctx, adds("add, 100 a request, 8 clients", ours, 8, 100, raw)); err != nil {
		return err
	}
	if err := b.another(ctx, more, func(two *store) row {
		return adds(fmt.Sprintf("add, 100 a request, 8 clients, winery.writers %d", writers), two, 8, 100, raw)
	}); err != nil {
		return err
	}
	if err := b.measure(ctx, row{what: "get from tables, 64 clients", ours: b.gets(ours, 64), python: b.gets(python, 64), server: ours}); err != nil {
		return err
	}
	for _, percent := range []int{90, 100} {
		ours.objects.Repeated, python.objects.Repeated = float64(percent)/100, float64(percent)/100
		again := adds(fmt.Sprintf("add, %d %% are present, one a request, 64 clients", percent), ours, 64, 1)
		again.extra, again.ours = walOf(dsn, again.ours)
		if err := b.measure(ctx, again); err != nil {
			return err
		}
	}
	return nil
}

// another measures a row of one more server on a database that has one.
func (b *bench) another(ctx context.Context, o harness.Options, of func(*store) row) (err error) {
	f, err := b.fleet(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	s, err := goStore(ctx, f, 3)
	if err != nil {
		return err
	}
	return b.measure(ctx, of(s))
}

// walOf measures how much WAL a database writes for each object of a work.
func walOf(dsn string, do work) (extra func() string, measured work) {
	var perObject []float64
	position := func(ctx context.Context) (int64, error) {
		return count(ctx, dsn, "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint")
	}
	measured = func(ctx context.Context) (load.Result, usage, error) {
		before, err := position(ctx)
		if err != nil {
			return load.Result{}, usage{}, err
		}
		result, used, err := do(ctx)
		after, positionErr := position(ctx)
		perObject = append(perObject, float64(after-before)/float64(result.Objects))
		return result, used, errors.Join(err, positionErr)
	}
	return func() string {
		return fmt.Sprintf("WAL: %.0f B an object", median(perObject, func(v float64) float64 { return v }))
	}, measured
}

// rawCopy is the rate of COPY into a table like a shard's, of the objects that are stored.
func (b *bench) rawCopy(ctx context.Context, dsn string) (limit, error) {
	const maxRows = 20_000
	found, err := psql(ctx, dsn, "SELECT relname, array_to_string(reloptions, ', ') FROM shards JOIN pg_class ON relname = 'shard_' || name LIMIT 1")
	if err != nil {
		return limit{}, err
	}
	shard, options, _ := strings.Cut(strings.TrimSpace(found), "|")
	file := filepath.Join(b.dir, "copy.bin")
	_, err = psql(ctx, dsn, fmt.Sprintf(`\copy (SELECT key, content FROM %s LIMIT %d) TO '%s' (FORMAT binary)`, shard, maxRows, file))
	return limit{"COPY into an equal table", func(ctx context.Context) (float64, error) {
		if _, err := psql(ctx, dsn, "DROP TABLE IF EXISTS raw", fmt.Sprintf("CREATE TABLE raw (LIKE shard_template INCLUDING ALL) WITH (%s)", options)); err != nil {
			return 0, err
		}
		began := time.Now()
		if _, err := psql(ctx, dsn, fmt.Sprintf(`\copy raw FROM '%s' (FORMAT binary)`, file)); err != nil {
			return 0, err
		}
		took := time.Since(began)
		rows, err := count(ctx, dsn, "SELECT count(*) FROM raw")
		return float64(rows) / took.Seconds(), err
	}}, err
}

// command runs a program and returns what it prints.
func command(ctx context.Context, name string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return string(out), err
}
