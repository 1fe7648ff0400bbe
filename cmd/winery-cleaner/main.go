// SPDX-License-Identifier: GPL-3.0-or-later

// Command winery-cleaner drops the tables of shards whose images are mapped, and
// erases deleted objects from images.
package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"winery/internal/cleaner"
	"winery/internal/daemon"
	"winery/internal/storage"
	"winery/sharedbase"
)

var minMappedHosts = &cli.IntFlag{
	Name:  "min-mapped-hosts",
	Usage: "drop the table of a shard only when at least `N` hosts have mapped its image",
	Value: 1,
}

var limit = daemon.RateFlag("read images, before tables are dropped, at most at `MB` megabytes per second")

func main() {
	flags := []cli.Flag{daemon.StopFlag, minMappedHosts, limit}
	daemon.Run("winery-cleaner", "drop the tables of packed shards, and erase deleted objects from images", flags, run)
}

func run(ctx context.Context, env *daemon.Env) (err error) {
	hosts := env.CLI.Int(minMappedHosts.Name)
	if hosts < 0 {
		return daemon.UsageError("--%s: found %d, must be 0 or more", minMappedHosts.Name, hosts)
	}
	rate, err := env.Rate()
	if err != nil {
		return err
	}
	streams := len(env.Config.Pools) - 1 // the index of one shard of each pool may be read at a time
	if env.StopWhenIdle {
		streams = 0
	}
	base, err := env.OpenDatabase(ctx, sharedbase.WithStreams(streams))
	if err != nil {
		return err
	}
	set, err := env.OpenPools(ctx, base)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, set.Close()) }()
	options := func(notify *daemon.Notifier, pools storage.Set) cleaner.Options {
		return cleaner.Options{
			Base: base, Pools: pools.Watched(notify.Progress), MinMappedHosts: hosts, Rate: rate, Log: env.Log, Metrics: env.Metrics,
			Progress: notify.Working, CallTimeout: min(time.Minute, env.Config.Winery.StallLimit/2), // to end before the process does
		}
	}
	var parts []daemon.Part
	for _, own := range shares(set, env.StopWhenIdle) {
		tables, objects := env.Notify.Part("tables"+own.of), env.Notify.Part("objects"+own.of)
		dropper, eraser := cleaner.New(options(tables, own.pools)), cleaner.New(options(objects, own.pools))
		parts = append(parts,
			daemon.Part{Notify: tables, Step: dropper.DropTables, States: []sharedbase.ShardState{sharedbase.StatePacked},
				WaitsFor: fmt.Sprintf("packed shards that %d hosts have mapped", hosts)},
			daemon.Part{Notify: objects, WaitsFor: "deleted objects in images", States: []sharedbase.ShardState{sharedbase.StatePacked, sharedbase.StateReadOnly},
				Step: func(ctx context.Context) (bool, error) {
					erased, err := eraser.EraseDeleted(ctx)
					return erased > 0, err
				}})
	}
	env.Notify.Ready()
	defer env.Reclaim(ctx, base)()
	return env.Loops(ctx, base, parts...)
}

// share is the pools that one pair of loops cleans.
type share struct {
	of    string // what the names of the loops end with
	pools storage.Set
}

// shares divides the pools. Each has loops of its own, so that none waits for a slow one.
// With stopWhenIdle, where a loop that fails ends all, the pools have the same loops: a
// failure in one pool does not keep the others from being cleaned.
func shares(set storage.Set, stopWhenIdle bool) (all []share) {
	if stopWhenIdle || len(set) == 1 {
		return []share{{"", set}}
	}
	for _, name := range slices.Sorted(maps.Keys(set)) {
		all = append(all, share{" of " + name, storage.Set{name: set[name]}})
	}
	return all
}
