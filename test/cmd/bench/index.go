// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"

	"winery/internal/load"
	"winery/test/harness"
)

// indexSizes measures an index of few and of many rows, in one table and in partitions.
func (b *bench) indexSizes(ctx context.Context) error {
	for _, partitions := range []int{1, 64} {
		if err := b.indexIn(ctx, partitions); err != nil {
			return err
		}
	}
	return nil
}

// indexIn measures an index that consists of so many tables. Its rows are of small objects
// that are in images, between many rows of objects that no store has.
func (b *bench) indexIn(ctx context.Context, partitions int) (err error) {
	f, err := b.fleet(ctx, harness.Options{ShardMaxSize: 1 << 30, IndexPartitions: partitions})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close(), b.dropDatabase(ctx, f.Config.Database.DSN)) }()
	s, err := b.pack(ctx, f, 5*b.inImages, func(*rand.Rand) int64 { return 1000 })
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	dsn, filled := f.Config.Database.DSN, 0
	for _, rows := range b.indexRows {
		if err := fillIndex(ctx, dsn, filled, rows); err != nil {
			return err
		}
		filled = rows
		size, err := count(ctx, dsn, "SELECT sum(pg_relation_size(oid)) FROM pg_class WHERE relname LIKE 'signature2shard%' AND relkind IN ('r', 'i')")
		if err != nil {
			return err
		}
		what := fmt.Sprintf("index of %g million rows in %s: ", float64(rows)/1e6, map[int]string{1: "one table", 64: "64 partitions"}[partitions])
		add := row{what: what + "add, 64 clients"}
		add.extra, add.ours = walOf(dsn, on(s, func(ctx context.Context) (load.Result, error) { return s.add(ctx, 64, 1, b.time) }))
		list := func(ctx context.Context) (load.Result, error) { return listObjects(ctx, f.URL, 4, b.time) }
		for _, r := range []row{
			add,
			{what: what + "get from images, 64 clients", ours: b.gets(s, 64), extra: func() string {
				return fmt.Sprintf("table and indexes: %.0f B a row", float64(size)/float64(rows))
			}},
			{what: what + "list, 4 clients", ours: on(s, list)},
			{what: what + "delete, 64 clients", ours: on(s, func(ctx context.Context) (load.Result, error) { return deleteObjects(ctx, s, 64, b.time/5) })},
		} {
			if err := b.measure(ctx, r); err != nil {
				return err
			}
		}
	}
	return nil
}

// fillIndex adds rows: those numbered above from, up to the one numbered to. It drops the
// indexes and creates them again, which takes much less time than to insert into them.
func fillIndex(ctx context.Context, dsn string, from, to int) error {
	_, err := psql(ctx, dsn,
		"SET maintenance_work_mem = '1GB'",
		"SET session_replication_role = replica", // no look at the shard for each row
		"ALTER TABLE signature2shard DROP CONSTRAINT signature2shard_pkey",
		"DROP INDEX signature2shard_deleted, signature2shard_shard_state",
		fmt.Sprintf(`INSERT INTO signature2shard (signature, state, shard)
			SELECT sha256(int8send(i)), 'present', (SELECT min(id) FROM shards WHERE state = 'readonly')
			FROM generate_series(%d, %d) i`, from+1, to),
		"ALTER TABLE signature2shard ADD PRIMARY KEY (signature)",
		"CREATE INDEX signature2shard_deleted ON signature2shard (signature, shard) WHERE state = 'deleted'",
		"CREATE INDEX signature2shard_shard_state ON signature2shard (shard, state)",
		"VACUUM ANALYZE signature2shard",
		"CHECKPOINT")
	return err
}

// deleteObjects has clients delete objects that are stored, each once.
func deleteObjects(ctx context.Context, s *store, clients int, d time.Duration) (load.Result, error) {
	ids := s.stored.All()
	var next atomic.Int64
	result, err := load.Clients{Count: clients, Batch: 1, Time: d}.Run(ctx, len(ids), func(ctx context.Context) (int64, error) {
		return 0, s.client.Delete(ctx, ids[next.Add(1)-1])
	})
	s.stored = new(load.IDs)
	s.stored.Add(ids[next.Load():]...)
	return result, err
}

// listObjects has clients read pages of the list of all objects from anywhere on.
func listObjects(ctx context.Context, url string, clients int, d time.Duration) (load.Result, error) {
	const page, line = 10_000, 65 // objects; bytes of each: an id and the end of a line
	result, err := load.Clients{Count: clients, Batch: 1, Time: d}.Run(ctx, unlimited, func(ctx context.Context) (int64, error) {
		return getBytes(ctx, fmt.Sprintf("%s/objects?after=%016x%048x&limit=%d", url, rand.Uint64()/2, 0, page))
	})
	result.Objects = result.Bytes / line
	return result, err
}

// getBytes returns how many bytes the answer to a GET has.
func getBytes(ctx context.Context, url string) (n int64, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	if response.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("GET %s: %s", url, response.Status)
	}
	return io.Copy(io.Discard, response.Body)
}
