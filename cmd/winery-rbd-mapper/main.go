// SPDX-License-Identifier: GPL-3.0-or-later

// Command winery-rbd-mapper makes the finished images readable on its host.
package main

import (
	"context"
	"errors"

	"github.com/urfave/cli/v2"

	"winery/internal/daemon"
	"winery/internal/mapper"
	"winery/internal/pools"
)

var (
	manageRWImages = &cli.BoolFlag{
		Name:  "manage-rw-images",
		Usage: "also make the images of shards to come, for packers with create_images: false",
	}
	onlyPrefix = &cli.StringFlag{
		Name:  "only-prefix",
		Usage: "leave out shards whose names do not begin with `PREFIX`",
	}
)

func main() {
	flags := []cli.Flag{daemon.StopFlag, manageRWImages, onlyPrefix}
	daemon.Run("winery-rbd-mapper", "map finished images on this host, read-only", flags, run)
}

func run(ctx context.Context, env *daemon.Env) (err error) {
	base, err := env.OpenDatabase(ctx)
	if err != nil {
		return err
	}
	defer base.Close()
	set, err := pools.Open(env.Config.Pools, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, set.Close()) }()
	m := mapper.New(mapper.Options{
		Base: base, Pools: set.Watched(env.Notify.Progress), Log: env.Log, Metrics: env.Metrics,
		OnlyPrefix:     env.CLI.String(onlyPrefix.Name),
		ManageRWImages: env.CLI.Bool(manageRWImages.Name),
		Progress:       func(p mapper.Progress) { env.Notify.Working(p) },
	})
	return env.Loop(ctx, base, func(ctx context.Context) (bool, error) {
		worked, err := m.Step(ctx)
		env.Notify.Ready() // the readers on this host may start: what can be mapped is
		return worked, err
	})
}
