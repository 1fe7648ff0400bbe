// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// LockedShard is a shard in a locked state, and its holder.
type LockedShard struct {
	Name  string
	State ShardState
	// For how long it has been locked, or its lease was not renewed.
	For time.Duration
	// Lease is nil where the holder has none: a process of Python Winery.
	Lease *Lease
}

// Expired is for how long the lease has expired; 0 without a lease, or while it holds.
func (s LockedShard) Expired() time.Duration {
	if s.Lease == nil || !s.Lease.Expired {
		return 0
	}
	return s.For
}

// LockedShards lists the shards in a locked state, in the order of their ids: as many
// as there are processes that work.
func (b *SharedBase) LockedShards(ctx context.Context) ([]LockedShard, error) {
	return list(ctx, b, b.conns.lists, "listing the locked shards", scanLockedShard, `/* winery: LockedShards */
		SELECT s.name::text, s.state::text, l.shard, l.locker, l.role, l.host, l.pid, l.version, l.expires, l.expires < clock_timestamp(),
			greatest(interval '0', clock_timestamp() - CASE WHEN l.expires < clock_timestamp() THEN l.expires ELSE s.locker_ts END)
		FROM shards s LEFT JOIN winery_lease l ON l.shard = s.id AND l.locker = s.locker
		WHERE s.state IN ('writing', 'packing', 'cleaning', 'importing') ORDER BY s.id`)
}

func scanLockedShard(row pgx.CollectableRow) (s LockedShard, err error) {
	var shard *int64
	var locker *uuid.UUID
	var role, host, version *string
	var pid *int
	var expires *time.Time
	var expired *bool
	var since *time.Duration
	err = row.Scan(&s.Name, &s.State, &shard, &locker, &role, &host, &pid, &version, &expires, &expired, &since)
	if shard != nil {
		s.Lease = &Lease{*shard, *locker, *role, *host, *pid, *version, *expires, *expired}
	}
	if since != nil {
		s.For = *since
	}
	return s, err
}

// Overdue counts shards that have waited for long.
type Overdue struct {
	Shards   int64
	Unmapped int64 // of them, those whose image no host has mapped
	Oldest   time.Duration
}

// PackedFor counts the shards that have been packed, and not quarantined, for longer
// than the given time: their tables are not dropped.
func (b *SharedBase) PackedFor(ctx context.Context, longer time.Duration) (o Overdue, err error) {
	err = b.withShortTimeout(ctx, "counting the packed shards", func(ctx context.Context) error {
		return b.conns.lists.QueryRow(ctx, `/* winery: PackedFor */
			SELECT count(*), count(*) FILTER (WHERE cardinality(s.mapped_on_hosts_when_packed) = 0),
				coalesce(max(clock_timestamp() - t.since), '0')
			FROM shards s JOIN winery_state t ON t.shard = s.id
			WHERE s.state = 'packed' AND t.since < clock_timestamp() - $1::interval
				AND NOT EXISTS (SELECT FROM winery_quarantine WHERE shard = s.id)`, longer).Scan(&o.Shards, &o.Unmapped, &o.Oldest)
	})
	return o, err
}

// MaxUnerased bounds the objects that Unerased counts, in all pools together.
const MaxUnerased = 10_000

// Unerased counts the deleted objects that the images of a pool may still have.
type Unerased struct {
	Pool            string
	Objects, Shards int64
	// For how long one of them could have been erased, at most. Deletions by Python
	// Winery, which records no time, do not count.
	Oldest time.Duration
}

// Unerased counts the objects that a cleaner has to erase, by pools that have any, up to
// MaxUnerased in all: those that are marked deleted, and those that were added again to another
// shard since.
func (b *SharedBase) Unerased(ctx context.Context) ([]Unerased, error) {
	return list(ctx, b, b.conns.lists, "counting the objects to be erased", pgx.RowToStructByPos[Unerased], `/* winery: Unerased */
		SELECT pool_name, count(*), count(DISTINCT shard), coalesce(max(clock_timestamp() - erasable), '0') FROM (
			SELECT s.pool_name, d.shard, CASE WHEN d.since IS NOT NULL THEN greatest(d.since, t.since) END AS erasable
			FROM (
				SELECT o.shard, (SELECT max(at) FROM winery_deletion w WHERE w.signature = o.signature AND w.shard = o.shard) AS since
				FROM signature2shard o WHERE o.state = 'deleted' AND octet_length(o.signature) = 32
				UNION ALL
				SELECT e.shard, e.noted FROM winery_erasure e WHERE octet_length(e.signature) = 32 AND NOT EXISTS (SELECT FROM signature2shard o
					WHERE o.signature = e.signature AND o.shard = e.shard AND o.state = 'present')
			) d JOIN shards s ON s.id = d.shard LEFT JOIN winery_state t ON t.shard = s.id
			WHERE s.state IN ('packed', 'cleaning', 'readonly') AND NOT EXISTS (SELECT FROM winery_quarantine WHERE shard = s.id)
			LIMIT $1) unerased
		GROUP BY pool_name ORDER BY pool_name`, MaxUnerased)
}
