// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Shard is a shard's row as it was when it was read.
type Shard struct {
	ID       int64
	Name     string
	State    ShardState
	Pool     string
	Locker   uuid.UUID // zero: none
	LockedAt time.Time // zero: not locked; the database's clock
	MappedOn []string  // the hosts that mapped the image
}

// shardColumns is the list of columns that scanShard reads, of the row "s" of shards.
const shardColumns = "s.id, s.name::text, s.state::text, s.pool_name, s.locker, s.locker_ts, s.mapped_on_hosts_when_packed"

func scanShard(row pgx.Row) (Shard, error) { return scanShardAfter(row) }

// scanShardAfter reads shardColumns that follow on others.
func scanShardAfter(row pgx.Row, others ...any) (s Shard, err error) {
	var locker *uuid.UUID
	var at *time.Time
	err = row.Scan(append(others, &s.ID, &s.Name, &s.State, &s.Pool, &locker, &at, &s.MappedOn)...)
	if locker != nil {
		s.Locker = *locker
	}
	if at != nil {
		s.LockedAt = *at
	}
	return s, err
}

// ShardByID returns ErrNotFound where there is no such shard.
func (b *SharedBase) ShardByID(ctx context.Context, id int64) (s Shard, err error) {
	err = b.withShortTimeout(ctx, fmt.Sprintf("looking up shard number %d", id), func(ctx context.Context) error {
		s, err = scanShard(b.conns.lookups.QueryRow(ctx, `/* winery: ShardByID */
			SELECT `+shardColumns+" FROM shards s WHERE id = $1", id))
		return err
	})
	return s, err
}

// ShardByName returns ErrNotFound where there is no such shard.
func (b *SharedBase) ShardByName(ctx context.Context, name string) (s Shard, err error) {
	err = b.withShortTimeout(ctx, "looking up shard "+name, func(ctx context.Context) error {
		s, err = scanShard(b.conns.lookups.QueryRow(ctx, `/* winery: ShardByName */
			SELECT `+shardColumns+" FROM shards s WHERE name = $1", name))
		return err
	})
	return s, err
}

// ShardFilter selects shards; an empty field selects all.
type ShardFilter struct {
	States    []ShardState
	Pool      string
	LockedFor time.Duration // only shards that were locked longer ago, by the database's clock
}

// ListShards returns the shards that f selects, in the order of their ids.
func (b *SharedBase) ListShards(ctx context.Context, f ShardFilter) ([]Shard, error) {
	states := make([]string, len(f.States))
	for i, s := range f.States {
		states[i] = string(s)
	}
	scan := func(row pgx.CollectableRow) (Shard, error) { return scanShard(row) }
	return list(ctx, b, b.conns.lists, "listing the shards", scan, "/* winery: ListShards */ SELECT "+shardColumns+` FROM shards s
		WHERE (cardinality($1::text[]) = 0 OR state::text = ANY ($1)) AND $2 IN ('', pool_name)
			AND ($3 = interval '0' OR locker_ts < now() - $3) ORDER BY id`, states, f.Pool, f.LockedFor)
}

// CountObjects counts the objects that the index has present in a shard. It
// takes as long as reading a part of the index does.
func (b *SharedBase) CountObjects(ctx context.Context, name string) (n int64, err error) {
	err = b.conns.lists.QueryRow(ctx, `/* winery: CountObjects */ SELECT count(*) FROM signature2shard
		WHERE state = 'present' AND shard = (SELECT id FROM shards WHERE name = $1)`, name).Scan(&n)
	return n, b.explain(ctx, "counting the objects of shard "+name, err)
}

// RecordShardMapped records that host has mapped the shard's image in a pool, and returns
// all hosts that have. A second record of the same host has no effect, and hosts
// that record at the same moment wait for one another. It notifies listeners. It
// returns *StateError if the shard has no complete image, ErrMoved if its image is in
// another pool by now, and ErrNotFound if there is no such shard.
func (b *SharedBase) RecordShardMapped(ctx context.Context, host, pool, name string) (hosts []string, err error) {
	err = b.withShortTimeout(ctx, "recording that "+host+" mapped shard "+name, func(ctx context.Context) error {
		return b.conns.rest.QueryRow(ctx, `/* winery: RecordShardMapped */ UPDATE shards s
			SET mapped_on_hosts_when_packed = array_append(mapped_on_hosts_when_packed, $1)
			WHERE name = $2 AND pool_name = $3 AND state IN ('packed', 'cleaning', 'readonly') AND $1 <> ALL (mapped_on_hosts_when_packed)
			RETURNING mapped_on_hosts_when_packed, `+notify, host, name, pool).Scan(&hosts, nil)
	})
	if !errors.Is(err, ErrNotFound) {
		return hosts, err
	}
	s, err := b.ShardByName(ctx, name)
	switch {
	case err == nil && !s.State.ImageAvailable():
		err = &StateError{Shard: name, Found: s.State, FoundLocker: s.Locker, Expected: StatePacked}
	case err == nil && s.Pool != pool:
		err = fmt.Errorf("shard %s is in pool %s: %w", name, s.Pool, ErrMoved)
	}
	return s.MappedOn, err
}
