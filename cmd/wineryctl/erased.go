// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"slices"

	"github.com/urfave/cli/v2"

	"winery/internal/importer"
	"winery/internal/progress"
	"winery/internal/scrub"
	"winery/pool"
	"winery/sharedbase"
)

// erased is the printed result for the image of a packed shard that does not have all objects
// of the index.
type erased struct {
	Pool    string         `json:"pool"`
	Image   string         `json:"image"`
	Was     string         `json:"was"`               // the state of the shard, which stays
	Removed []scrub.Object `json:"removed"`           // objects that the index has no longer
	InPool  string         `json:"in_pool,omitempty"` // another pool, to which the image was migrated
	Error   string         `json:"error,omitempty"`
}

// removeErased removes from the index the objects that the images of packed shards do not
// have, and moves readonly shards to the pools that have their images, or with dryRun prints
// both. It returns false if the rest cannot succeed either.
func removeErased(c *cli.Context, s *session, from []pool.Pool, e effort, dryRun bool) (goOn bool, err error) {
	shards, err := s.base.ListShards(c.Context, sharedbase.ShardFilter{
		States: []sharedbase.ShardState{sharedbase.StatePacked, sharedbase.StateCleaning, sharedbase.StateReadOnly},
	})
	if err != nil {
		return false, err
	}
	if chosen := c.StringSlice("pool-name"); len(chosen) > 0 {
		shards = slices.DeleteFunc(shards, func(sh sharedbase.Shard) bool { return !slices.Contains(chosen, sh.Pool) })
	}
	j, removed, moved := s.journal, "removed from the index", "the shard was moved there"
	if dryRun {
		removed, moved = "would be removed from the index", "the shard would be moved there"
	}
	goOn = true
	compared := progress.Report{Task: "comparing images with the index", Total: int64(len(shards)), Images: true}
	forEach(e.workers, shards, func(sh sharedbase.Shard) (importer.Compared, error) {
		i := importer.Importer{Base: s.base, Rate: e.rate}
		return i.RemoveErased(c.Context, from, sh, dryRun)
	}, func(sh sharedbase.Shard, got importer.Compared, err error) (more bool) {
		absent := got.Absent
		label := sh.Pool + "/" + sh.Name
		row := erased{Pool: sh.Pool, Image: sh.Name, Was: string(sh.State), Removed: make([]scrub.Object, len(absent))}
		for i, id := range absent {
			row.Removed[i] = scrub.Object(id)
		}
		switch {
		case err != nil:
			row.Error = err.Error()
			j.failed(row, label, err)
		case got.Pool.Name() != sh.Pool:
			row.InPool = got.Pool.Name()
			j.done(row, "%s: pool %s has the image, without %d objects of the index: %s, and the objects %s", label, row.InPool, len(absent), moved, removed)
		case len(absent) > 0:
			j.done(row, "%s: the image does not have %d objects of the index, the first is %x: %s", label, len(absent), absent[0], removed)
		}
		compared.Done++
		j.bar.show(compared)
		goOn = goOn && !hopeless(err)
		return goOn
	})
	return goOn, nil
}
