// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"winery/internal/inventory"
	"winery/internal/scrub"
	"winery/internal/storage"
	"winery/sharedbase"
)

// Kinds of findings that concern no verifiable shard.
const (
	orphanTable scrub.Kind = "orphan table" // a table that belongs to no shard
	orphanImage scrub.Kind = "orphan image" // an image that belongs to no shard
	newerImage  scrub.Kind = "newer image"  // a complete image of a shard that the database has not packed
)

// orphans lists the tables and images that no shard uses, with the cure. The
// complete image of a full shard in its pool is no orphan: a packer that died leaves such
// an image, and the next packer replaces the image or quarantines the shard. An error names
// the pools that could not be listed: the findings are those of the others.
func orphans(ctx context.Context, base *sharedbase.SharedBase, set storage.Set) (found []scrub.Finding, err error) {
	tables, err := base.OrphanTables(ctx)
	if err != nil {
		return nil, err
	}
	for _, table := range tables {
		found = append(found, scrub.Finding{Shard: table, Kind: orphanTable,
			Text: fmt.Sprintf("no shard uses table %s; check what its rows are, then remove the table with psql: DROP TABLE %[1]s", table)})
	}
	for _, name := range slices.Sorted(maps.Keys(set)) {
		differs, failure := inventory.Compare(ctx, base, set[name])
		err = errors.Join(err, failure)
		if hopeless(failure) {
			return found, err
		}
		for _, image := range differs.Unknown {
			found = append(found, scrub.Finding{Shard: image, Pool: name, Kind: orphanImage,
				Text: fmt.Sprintf("pool %s has the image, but the database has no shard of this name; `wineryctl shards import` imports the image", name)})
		}
		for _, s := range differs.Newer() {
			found = append(found, scrub.Finding{Shard: s.Name, Pool: name, Kind: newerImage,
				Text: fmt.Sprintf("pool %s has a complete image of the shard, but the shard is %s in the database: the image is newer than the database; see `wineryctl index reconcile --dry-run`",
					name, s.State)})
		}
	}
	return found, err
}
