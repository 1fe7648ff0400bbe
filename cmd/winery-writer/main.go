// SPDX-License-Identifier: GPL-3.0-or-later

// Command winery-writer serves the object storage over HTTP, and writes new objects
// into the tables of shards.
package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"winery/internal/config"
	"winery/internal/daemon"
	"winery/internal/writer"
	"winery/sharedbase"
)

var listen = &cli.StringFlag{
	Name:  "listen",
	Usage: "listen on `ADDRESS`: HOST:PORT or unix:/PATH (default: winery.listen of the configuration)",
}

func main() {
	daemon.Run("winery-writer", "serve the object storage over HTTP", []cli.Flag{listen}, run)
}

func run(_ context.Context, env *daemon.Env) error {
	cfg := *env.Config
	if address := env.CLI.String(listen.Name); address != "" {
		if _, _, err := config.ParseListen(address); err != nil {
			return daemon.UsageError("--%s: %w", listen.Name, err)
		}
		cfg.Winery.Listen = address
	}
	protection, err := writer.NewProtection(cfg.Winery)
	if err != nil {
		return err
	}
	showExpiry := func() { env.Metrics.Expires(protection.Expiry()) }
	showExpiry()
	for _, part := range protection.Reloads() {
		env.OnReload(part.What, func() error {
			defer showExpiry()
			return part.Read()
		})
	}
	// After either signal, the server completes the requests in flight.
	server := writer.Settings{Winery: cfg.Winery, Protection: protection, Version: daemon.Version(), Log: env.Log}
	return writer.Run(env.Finishing, server, func(ctx context.Context) (writer.Options, error) {
		return open(ctx, env, &cfg)
	})
}

// open opens the database and the pools that the writer serves.
func open(ctx context.Context, env *daemon.Env, cfg *config.Config) (writer.Options, error) {
	base, err := env.OpenDatabase(ctx, sharedbase.WithAdders(cfg.Winery.Writers))
	if err != nil {
		return writer.Options{}, err
	}
	var needed []string
	if !cfg.ReadOnly {
		needed = []string{cfg.ActivePool}
	}
	set, err := env.OpenPools(ctx, base, needed...)
	if err != nil {
		return writer.Options{}, err
	}
	stopReclaiming := env.Reclaim(ctx, base)
	return writer.Options{
		Config: cfg, Base: base, Pools: set, Metrics: env.Metrics,
		Ready: func(address string) {
			env.Notify.Ready()
			env.Notify.Serving(address, nil)
		},
		Serving:  env.Notify.Serving,
		Adding:   func(failure func() error) { env.Telemetry.Requires("adds", failure) },
		Alive:    env.Notify.Progress,
		Progress: env.Notify.Working,
		Close: func() error {
			stopReclaiming()
			return set.Close()
		},
	}, nil
}
