// SPDX-License-Identifier: GPL-3.0-or-later

// Command winery-packer packs full shards into images.
package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"winery/internal/daemon"
	"winery/internal/packer"
	"winery/sharedbase"
)

var poolName = &cli.StringFlag{
	Name:    "pool-name",
	Aliases: []string{"n"},
	Usage:   "pack the shards of `POOL`, or of every pool with \"all\" (default: shards_active_pool of the configuration)",
}

var (
	parallel = &cli.IntFlag{Name: "parallel", Usage: "pack up to `N` shards at once, from 1 to 16", Value: 1}
	limit    = daemon.RateFlag("write, upload, and read back, at most `MB` megabytes per second, all shards together")
)

// maxParallel bounds memory: the keys of each shard are in it.
const maxParallel = 16

func main() {
	daemon.Run("winery-packer", "pack full shards into images", []cli.Flag{daemon.StopFlag, poolName, parallel, limit}, run)
}

func run(ctx context.Context, env *daemon.Env) (err error) {
	pool := env.Config.ActivePool
	if env.CLI.IsSet(poolName.Name) {
		pool = env.CLI.String(poolName.Name)
	}
	needed := []string{pool}
	if pool == "all" {
		pool, needed = "", nil
	} else if _, ok := env.Config.Pool(pool); !ok {
		return daemon.UsageError("--%s: found %q, must be a pool of the configuration, or \"all\"", poolName.Name, pool)
	}
	loops := env.CLI.Int(parallel.Name)
	if loops < 1 || loops > maxParallel {
		return daemon.UsageError("--%s: found %d, must be from 1 to %d", parallel.Name, loops, maxParallel)
	}
	rate, err := env.Rate()
	if err != nil {
		return err
	}
	base, err := env.OpenDatabase(ctx, sharedbase.WithStreams(loops-1))
	if err != nil {
		return err
	}
	set, err := env.OpenPools(ctx, base, needed...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, set.Close()) }()
	waitsFor := "full shards"
	if pool != "" {
		waitsFor += " of pool " + pool
	}
	for name, size := range env.Config.MaxSizes() {
		if pool == "" || pool == name {
			env.Metrics.Packs(name, size)
		}
	}
	history := packer.NewHistory()
	var parts []daemon.Part
	for i := range loops {
		notify, part := env.Notify, ""
		if loops > 1 {
			part = fmt.Sprint(i + 1)
			notify = notify.Part(part)
		}
		p := packer.New(packer.Options{
			Base: base, Pools: set.Watched(notify.Progress), Pool: pool, Rate: rate, History: history, Log: env.Log, Metrics: env.Metrics,
			MaxSizes: env.Config.MaxSizes(), Part: part, Progress: notify.Working,
		})
		parts = append(parts, daemon.Part{Notify: notify, Step: p.Step, States: []sharedbase.ShardState{sharedbase.StateFull}, WaitsFor: waitsFor})
	}
	env.Notify.Ready()
	defer env.Reclaim(ctx, base)()
	return env.Loops(ctx, base, parts...)
}
