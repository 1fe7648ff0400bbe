// SPDX-License-Identifier: GPL-3.0-or-later

// Command winery-rbd-mapper makes the finished images readable on its host.
package main

import (
	"context"
	"errors"

	"github.com/urfave/cli/v2"

	"winery/internal/daemon"
	"winery/internal/mapper"
	"winery/internal/scrub"
	"winery/sharedbase"
)

var (
	manageRWImages = &cli.BoolFlag{
		Name:  "manage-rw-images",
		Usage: "also make the images of shards to come, for packers with create_images: false",
	}
	scrubRate = &cli.Float64Flag{
		Name:  "scrub-rate",
		Usage: "read the mapped images over and over, at `MB/s`, and quarantine the shards of damaged ones (0: do not)",
	}
	onlyPrefix = &cli.StringFlag{
		Name:  "only-prefix",
		Usage: "leave out shards whose names do not begin with `PREFIX`",
	}
)

func main() {
	flags := []cli.Flag{daemon.StopFlag, manageRWImages, onlyPrefix, scrubRate}
	daemon.Run("winery-rbd-mapper", "map finished images on this host, read-only", flags, run)
}

func run(ctx context.Context, env *daemon.Env) (err error) {
	bytes := env.CLI.Float64(scrubRate.Name) * 1e6
	if bytes < 0 || bytes > 0 && bytes < 1 {
		return daemon.UsageError("--%s: found %v, must be 0 or more", scrubRate.Name, env.CLI.Float64(scrubRate.Name))
	}
	base, err := env.OpenDatabase(ctx)
	if err != nil {
		return err
	}
	defer base.Close()
	set, err := env.OpenPools(ctx, base, true)
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
	if bytes > 0 {
		defer patrol(ctx, &scrub.Patrol{
			Scrubber:   &scrub.Scrubber{Base: base, Pools: set, Rate: scrub.NewRate(int64(bytes)), Mapped: true, Metrics: env.Metrics},
			OnlyPrefix: env.CLI.String(onlyPrefix.Name), Log: env.Log,
		})()
	}
	states := []sharedbase.ShardState{sharedbase.StatePacked, sharedbase.StateReadOnly} // packed; imported or moved
	if env.CLI.Bool(manageRWImages.Name) {
		states = append(states, sharedbase.StateStandby, sharedbase.StateWriting, sharedbase.StateFull) // an image will be needed
	}
	return env.Loop(ctx, base, func(ctx context.Context) (bool, error) {
		worked, err := m.Step(ctx)
		env.Notify.Ready() // the readers on this host may start: what can be mapped is
		return worked, err
	}, states...)
}

// patrol goes on in the background until ctx ends or the returned function is
// called, which waits for the end.
func patrol(ctx context.Context, p *scrub.Patrol) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.Run(ctx)
	}()
	return func() { cancel(); <-ended }
}
