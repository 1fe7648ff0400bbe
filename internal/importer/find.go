// SPDX-License-Identifier: GPL-3.0-or-later

package importer

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"winery/internal/inventory"
	"winery/pool"
	"winery/sharedbase"
)

// Image is an image that the database does not know.
type Image struct {
	Pool pool.Pool
	Name string
	// Err says why the image cannot be imported, if that is known without reading
	// all of it: ErrUnfinished, or that several pools have a finished one.
	Err error
}

// Find returns the images of pools that are no shard of the database, by pool
// and name. Those of shards that an importer of Python's has locked are among
// them: it may have died.
func Find(ctx context.Context, base *sharedbase.SharedBase, pools []pool.Pool) ([]Image, error) {
	shards, err := base.ListShards(ctx, sharedbase.ShardFilter{})
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, s := range shards {
		known[s.Name] = s.State != sharedbase.StateImporting
	}
	var images []Image
	same := map[string][]int{} // positions in images, by name
	for _, p := range pools {
		names, err := p.List(ctx)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if !known[name] {
				images = append(images, Image{Pool: p, Name: name})
				same[name] = append(same[name], len(images)-1)
			}
		}
	}
	for _, positions := range same {
		if len(positions) > 1 {
			refuseCopies(ctx, images, positions)
		}
	}
	slices.SortFunc(images, func(a, b Image) int {
		return cmp.Or(cmp.Compare(a.Pool.Name(), b.Pool.Name()), cmp.Compare(a.Name, b.Name))
	})
	return images, nil
}

// refuseCopies refuses the images of one name, at these positions, if several of them are
// finished. One that cannot be read counts as finished.
func refuseCopies(ctx context.Context, images []Image, positions []int) {
	var pools []string
	for _, at := range positions {
		image := &images[at]
		if finished, err := inventory.Finished(ctx, image.Pool, image.Name); err == nil && !finished {
			image.Err = ErrUnfinished
			continue
		}
		pools = append(pools, image.Pool.Name())
	}
	if len(pools) == 1 {
		return
	}
	for _, at := range positions {
		if images[at].Err == nil {
			images[at].Err = fmt.Errorf("each of the pools %s has an image of this name: choose one with --pool-name", strings.Join(pools, ", "))
		}
	}
}
