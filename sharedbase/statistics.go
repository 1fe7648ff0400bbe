// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// InStateSince returns when a shard came into its state; zero if it is not known. A full or
// packed shard came into it before the tries that failed.
func (b *SharedBase) InStateSince(ctx context.Context, shardID int64) (since time.Time, err error) {
	err = b.withShortTimeout(ctx, fmt.Sprintf("looking up the state of shard number %d", shardID), func(ctx context.Context) error {
		return b.conns.lookups.QueryRow(ctx, "/* winery: InStateSince */ SELECT since FROM winery_state WHERE shard = $1", shardID).Scan(&since)
	})
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	return since, err
}

// ShardStatistics counts the shards of a pool that are in one state.
type ShardStatistics struct {
	Pool        string
	State       ShardState
	Shards      int64
	Quarantined int64 // of the shards
	// For how long one of the others has been in the state, at most. A full or packed
	// shard has been so since before the tries that failed.
	Oldest time.Duration
	// Of the shards that have an image: how many images were never read back as a
	// whole, as far as Go Winery knows, and how long ago that was for one of the others, at most.
	NeverVerified  int64
	OldestVerified time.Duration
	TableBytes     int64 // on the database's disk, of tables that wait for a packer: 0 unless State is StateFull
}

// Statistics returns the statistics of all pools and states that have shards. It
// reads a row of four tables for each shard: 100,000 shards take about 0.2 s.
func (b *SharedBase) Statistics(ctx context.Context) ([]ShardStatistics, error) {
	return list(ctx, b, b.conns.lists, "counting the shards", pgx.RowToStructByPos[ShardStatistics], `/* winery: Statistics */
		SELECT s.pool_name, s.state::text, count(*), count(q.shard),
			coalesce(greatest(interval '0', now() - min(t.since) FILTER (WHERE q.shard IS NULL)), '0'),
			count(*) FILTER (WHERE v.shard IS NULL AND s.state IN ('packed', 'cleaning', 'readonly')),
			coalesce(greatest(interval '0', now() - min(v.at) FILTER (WHERE s.state IN ('packed', 'cleaning', 'readonly'))), '0'),
			coalesce(sum(pg_table_size(to_regclass(quote_ident('shard_' || s.name::text)))) FILTER (WHERE s.state = 'full'), 0)::bigint
		FROM shards s LEFT JOIN winery_state t ON t.shard = s.id LEFT JOIN winery_quarantine q ON q.shard = s.id
			LEFT JOIN winery_verification v ON v.shard = s.id
		GROUP BY s.pool_name, s.state ORDER BY s.pool_name, s.state`)
}
