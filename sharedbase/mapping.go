// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"context"
	"iter"

	"github.com/jackc/pgx/v5"
)

// mappingPage is how many shards ShardsToMap reads at a time.
const mappingPage = 10_000

// MappingFilter selects the shards that a host maps.
type MappingFilter struct {
	Host   string
	Pools  []string // whose images the host maps
	Prefix string   // of the shards' names
	// Unrecorded leaves out the shards that Host has recorded as mapped.
	Unrecorded bool
}

// ShardToMap is a shard whose image is available.
type ShardToMap struct {
	ID         int64
	Name, Pool string
	Recorded   bool // as mapped on the host
}

// ShardsToMap lists the shards whose image is available (PACKED, CLEANING,
// READONLY) and that f selects, in the order of their ids. It reads them page by
// page, so that a shard that changes meanwhile may be listed as it was or as it
// is. An error ends the list.
func (b *SharedBase) ShardsToMap(ctx context.Context, f MappingFilter) iter.Seq2[ShardToMap, error] {
	return func(yield func(ShardToMap, error) bool) {
		for after := int64(0); ; {
			page, err := b.shardsToMap(ctx, f, after)
			if err != nil {
				yield(ShardToMap{}, err)
				return
			}
			for _, s := range page {
				if !yield(s, nil) {
					return
				}
				after = s.ID
			}
			if len(page) < mappingPage {
				return
			}
		}
	}
}

func (b *SharedBase) shardsToMap(ctx context.Context, f MappingFilter, after int64) ([]ShardToMap, error) {
	return list(ctx, b, b.conns.lists, "listing the shards to map", pgx.RowToStructByPos[ShardToMap], `/* winery: ShardsToMap */
		SELECT s.id, s.name::text, s.pool_name, $1 = ANY (s.mapped_on_hosts_when_packed)
		FROM shards s WHERE s.id > $2 AND s.state IN ('packed', 'cleaning', 'readonly')
			AND s.pool_name = ANY ($3) AND starts_with(s.name::text, $4)
			AND NOT ($5 AND $1 = ANY (s.mapped_on_hosts_when_packed))
		ORDER BY s.id LIMIT $6`, f.Host, after, f.Pools, f.Prefix, f.Unrecorded, mappingPage)
}
