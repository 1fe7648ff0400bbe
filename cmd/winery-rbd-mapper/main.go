// SPDX-License-Identifier: GPL-3.0-or-later

// Command winery-rbd-mapper maps the images of packed shards on its host, read-only.
package main

import (
	"context"
	"errors"

	"github.com/urfave/cli/v2"

	"winery/internal/daemon"
	"winery/internal/hashcache"
	"winery/internal/mapper"
	"winery/internal/pace"
	"winery/internal/scrub"
	"winery/sharedbase"
)

var (
	manageRWImages = &cli.BoolFlag{
		Name:  "manage-rw-images",
		Usage: "also create the images that packers will write; needed where packer.create_images is false",
	}
	scrubRate = &cli.Float64Flag{
		Name:  "scrub-rate",
		Usage: "verify the mapped images repeatedly, reading `MB` megabytes per second, and quarantine shards with damaged images; 0 disables",
	}
	onlyPrefix = &cli.StringFlag{
		Name:  "only-prefix",
		Usage: "map only images whose names begin with `PREFIX` (default: all images)",
	}
)

func main() {
	flags := []cli.Flag{daemon.StopFlag, manageRWImages, onlyPrefix, scrubRate}
	daemon.Run("winery-rbd-mapper", "map the images of packed shards on this host, read-only", flags, run)
}

func run(ctx context.Context, env *daemon.Env) (err error) {
	rate := env.CLI.Float64(scrubRate.Name) * 1e6
	if rate < 0 || rate > 0 && rate < 1 {
		return daemon.UsageError("--%s: found %v, must be 0, or at least 0.000001 (1 byte per second)", scrubRate.Name, env.CLI.Float64(scrubRate.Name))
	}
	base, err := env.OpenDatabase(ctx)
	if err != nil {
		return err
	}
	set, err := env.OpenPools(ctx, base)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, set.Close()) }()
	cache := env.Config.Winery.HashCache
	m := mapper.New(mapper.Options{
		Base: base, Pools: set.Watched(env.Notify.Progress), Log: env.Log, Metrics: env.Metrics,
		OnlyPrefix:     env.CLI.String(onlyPrefix.Name),
		ManageRWImages: env.CLI.Bool(manageRWImages.Name),
		Hashes:         hashcache.New(hashcache.Options{Directory: cache.Directory, Size: cache.Size, Metrics: env.Metrics, Log: env.Log}),
		Progress:       env.Notify.Working,
	})
	if rate > 0 {
		patrol := &scrub.Patrol{
			Scrubber:   &scrub.Scrubber{Base: base, Pools: set, Rate: pace.NewRate(int64(rate)), Mapped: true, Metrics: env.Metrics},
			OnlyPrefix: env.CLI.String(onlyPrefix.Name), Log: env.Log,
		}
		defer daemon.Background(ctx, patrol.Run)() // ends within a few seconds, also while an image hangs
	}
	return env.Loops(ctx, base, daemon.Part{Notify: env.Notify, States: m.WakesOn(), WaitsFor: "images to map",
		Step: func(ctx context.Context) (bool, error) {
			worked, err := m.Step(ctx)
			// After a whole round, all available images are mapped.
			if !errors.Is(err, sharedbase.ErrUnavailable) {
				env.Notify.Ready()
			}
			return worked, err
		}})
}
