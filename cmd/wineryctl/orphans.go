// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"winery/internal/importer"
	"winery/internal/inventory"
	"winery/internal/scrub"
	"winery/internal/storage"
	"winery/pool"
	"winery/sharedbase"
)

// Kinds of findings that concern no verifiable shard.
const (
	orphanTable     scrub.Kind = "orphan table"     // a table that belongs to no shard
	orphanImage     scrub.Kind = "orphan image"     // an image that belongs to no shard
	unfinishedImage scrub.Kind = "unfinished image" // an image that belongs to no shard and was never in use
)

// orphans lists the tables and images that no shard uses, with the cure. Notes are of
// unfinished images, with which nothing is lost, and which are no failure. The
// complete image of a full shard in its pool is no orphan: a packer that died leaves such
// an image, and the next packer replaces the image or quarantines the shard. An error names
// the pools that could not be listed: the findings are those of the others.
func orphans(ctx context.Context, base *sharedbase.SharedBase, set storage.Set) (found, notes []scrub.Finding, err error) {
	tables, err := base.OrphanTables(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, table := range tables {
		found = append(found, scrub.Finding{Shard: table, Kind: orphanTable,
			Text: fmt.Sprintf("no shard uses table %s; check what its rows are, then remove the table with psql: DROP TABLE %[1]s", table)})
	}
	for _, name := range slices.Sorted(maps.Keys(set)) {
		differs, failure := inventory.Compare(ctx, base, set[name])
		err = errors.Join(err, failure)
		if hopeless(failure) {
			return found, notes, err
		}
		for _, image := range differs.Unknown {
			finished, failure := inventory.Finished(ctx, set[name], image)
			switch {
			case errors.Is(failure, pool.ErrNotFound): // removed meanwhile
			case failure == nil && !finished:
				notes = append(notes, scrub.Finding{Shard: image, Pool: name, Kind: unfinishedImage,
					Text: fmt.Sprintf("pool %s has the image, the database has no shard of this name, and %v: %s", name, importer.ErrUnfinished, howToRemove)})
			default:
				err = errors.Join(err, failure)
				found = append(found, scrub.Finding{Shard: image, Pool: name, Kind: orphanImage,
					Text: fmt.Sprintf("pool %s has the image, but the database has no shard of this name; `wineryctl shards import` imports the image", name)})
			}
		}
		for _, s := range differs.Newer() {
			found = append(found, scrub.Finding{Shard: s.Name, Pool: name, Kind: scrub.NewerImage,
				Text: fmt.Sprintf("pool %s has a complete image of the shard, but the shard is %s in the database: the image is newer than the database; see `wineryctl index reconcile --dry-run`",
					name, s.State)})
		}
	}
	return found, notes, err
}
