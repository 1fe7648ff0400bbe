// SPDX-License-Identifier: GPL-3.0-or-later

// Command winery-writer serves the object storage over HTTP and writes what is
// added into shards' tables.
package main

import (
	"context"
	"errors"

	"github.com/urfave/cli/v2"

	"winery/internal/config"
	"winery/internal/daemon"
	"winery/internal/storage"
	"winery/internal/writer"
)

var listen = &cli.StringFlag{
	Name:  "listen",
	Usage: "serve on `ADDRESS`, HOST:PORT or unix:/PATH (default: winery.listen of the configuration)",
}

func main() {
	daemon.Run("winery-writer", "serve the object storage over HTTP", []cli.Flag{listen}, run)
}

func run(ctx context.Context, env *daemon.Env) (err error) {
	cfg := *env.Config
	if address := env.CLI.String(listen.Name); address != "" {
		if _, _, err := config.ParseListen(address); err != nil {
			return daemon.UsageError("--%s: %w", listen.Name, err)
		}
		cfg.Winery.Listen = address
	}
	base, err := env.OpenDatabase(ctx)
	if err != nil {
		return err
	}
	defer base.Close()
	set, err := storage.Open(cfg.Pools, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, set.Close()) }()
	defer env.Reclaim(ctx, base)()
	// Whatever asks a server to end, it answers what it has begun.
	return writer.Run(env.Finishing, writer.Options{
		Config: &cfg, Base: base, Pools: set, Log: env.Log, Metrics: env.Metrics,
		Ready: func(address string) {
			env.Notify.Ready()
			env.Notify.Status("serving on %s", address)
		},
		Alive: env.Notify.Progress,
	})
}
