// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"winery/internal/inventory"
	"winery/internal/scrub"
	"winery/internal/storage"
	"winery/sharedbase"
)

// The findings that are about no shard that can be verified.
const (
	orphanTable scrub.Kind = "orphan table" // a table that belongs to no shard
	orphanImage scrub.Kind = "orphan image" // an image that belongs to no shard
	newerImage  scrub.Kind = "newer image"  // a complete image of a shard that the database has not packed
)

// orphans lists the tables and images that no shard uses, with the cure. A
// complete image of a full shard is none: a packer that died leaves one, and the
// next packer replaces it or quarantines the shard.
func orphans(ctx context.Context, base *sharedbase.SharedBase, set storage.Set) (found []scrub.Finding, err error) {
	tables, err := base.OrphanTables(ctx)
	if err != nil {
		return nil, err
	}
	for _, table := range tables {
		found = append(found, scrub.Finding{Shard: table, Kind: orphanTable,
			Text: fmt.Sprintf("no shard uses the table %s; look at it, and remove it with psql: DROP TABLE %[1]s", table)})
	}
	for _, name := range slices.Sorted(maps.Keys(set)) {
		differs, err := inventory.Compare(ctx, base, set[name])
		if err != nil {
			return found, err
		}
		for _, image := range differs.Unknown {
			found = append(found, scrub.Finding{Shard: image, Pool: name, Kind: orphanImage,
				Text: fmt.Sprintf("pool %s has the image, and the database has no shard of its name; `wineryctl shards import` makes one", name)})
		}
		for _, s := range differs.Unpacked {
			if s.State == sharedbase.StateFull {
				continue
			}
			found = append(found, scrub.Finding{Shard: s.Name, Pool: name, Kind: newerImage,
				Text: fmt.Sprintf("pool %s has the complete image of the shard, which is %s in the database: the database is older; see `wineryctl index reconcile --dry-run`",
					name, s.State)})
		}
	}
	return found, nil
}
