// SPDX-License-Identifier: GPL-3.0-or-later

// Command winery-cleaner drops the tables of shards that are packed and mapped,
// and erases deleted objects from images.
package main

import (
	"context"
	"errors"

	"github.com/urfave/cli/v2"

	"winery/internal/cleaner"
	"winery/internal/daemon"
	"winery/sharedbase"
)

var minMappedHosts = &cli.IntFlag{
	Name:  "min-mapped-hosts",
	Usage: "drop a table once `N` hosts have mapped its image",
	Value: 1,
}

func main() {
	flags := []cli.Flag{daemon.StopFlag, minMappedHosts}
	daemon.Run("winery-cleaner", "drop tables of packed shards and erase deleted objects", flags, run)
}

func run(ctx context.Context, env *daemon.Env) (err error) {
	hosts := env.CLI.Int(minMappedHosts.Name)
	if hosts < 0 {
		return daemon.UsageError("--%s: found %d, must be 0 or more", minMappedHosts.Name, hosts)
	}
	base, err := env.OpenDatabase(ctx)
	if err != nil {
		return err
	}
	defer base.Close()
	set, err := env.OpenPools(ctx, base, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, set.Close()) }()
	c := cleaner.New(cleaner.Options{
		Base: base, Pools: set.Watched(env.Notify.Progress), MinMappedHosts: hosts, Log: env.Log, Metrics: env.Metrics,
		Progress: func(p cleaner.Progress) { env.Notify.Working(p) },
	})
	env.Notify.Ready()
	return env.Loop(ctx, base, c.Step, sharedbase.StatePacked)
}
