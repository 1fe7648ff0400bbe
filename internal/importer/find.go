// SPDX-License-Identifier: GPL-3.0-or-later

package importer

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"winery/pool"
	"winery/sharedbase"
)

// Image is an image that the database does not know.
type Image struct {
	Pool pool.Pool
	Name string
	// Err says why the image cannot be imported, if that is known without reading
	// it.
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
	in := map[string][]string{} // pools, by image
	for _, p := range pools {
		names, err := p.List(ctx)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if !known[name] {
				images = append(images, Image{Pool: p, Name: name})
				in[name] = append(in[name], p.Name())
			}
		}
	}
	for i, image := range images {
		if copies := in[image.Name]; len(copies) > 1 {
			images[i].Err = fmt.Errorf("each of the pools %s has an image of this name: choose one with --pool-name", strings.Join(copies, ", "))
		}
	}
	slices.SortFunc(images, func(a, b Image) int {
		return cmp.Or(cmp.Compare(a.Pool.Name(), b.Pool.Name()), cmp.Compare(a.Name, b.Name))
	})
	return images, nil
}
