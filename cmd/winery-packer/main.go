// SPDX-License-Identifier: GPL-3.0-or-later

// Command winery-packer packs full shards into images.
package main

import (
	"context"
	"errors"

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

func main() {
	daemon.Run("winery-packer", "pack full shards into images", []cli.Flag{daemon.StopFlag, poolName}, run)
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
	base, err := env.OpenDatabase(ctx)
	if err != nil {
		return err
	}
	set, err := env.OpenPools(ctx, base, env.Config.Packer.CreateImages, needed...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, set.Close()) }()
	p := packer.New(packer.Options{
		Base: base, Pools: set.Watched(env.Notify.Progress), Pool: pool, Log: env.Log, Metrics: env.Metrics, MaxSizes: env.Config.MaxSizes(),
		Progress: env.Notify.Working,
	})
	env.Notify.Ready()
	defer env.Reclaim(ctx, base)()
	waitsFor := "full shards"
	if pool != "" {
		waitsFor += " of pool " + pool
	}
	return env.Loops(ctx, base, daemon.Part{Notify: env.Notify, Step: p.Step, States: []sharedbase.ShardState{sharedbase.StateFull}, WaitsFor: waitsFor})
}
