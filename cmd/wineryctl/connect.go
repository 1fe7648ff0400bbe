// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/urfave/cli/v2"

	"winery/internal/config"
	"winery/internal/daemon"
	"winery/internal/httpapi/rpc/client"
	"winery/sharedbase"
)

var urlFlag = &cli.StringFlag{
	Name:    "url",
	Usage:   "send requests to the writer at `ADDRESS`: http://HOST:PORT or unix:/PATH (default: winery.listen of the configuration)",
	EnvVars: []string{"WINERY_URL"},
}

// configuration loads the file that --config names, and logs the warnings about its keys. checkDSN is that of
// [config.LoadWithDSN].
func configuration(c *cli.Context, log *slog.Logger, checkDSN func(string) error) (*config.Config, error) {
	cfg, err := config.LoadWithDSN(c.String("config"), checkDSN)
	if err != nil {
		return nil, err
	}
	for _, warning := range cfg.Warnings {
		log.Warn("configuration warning", "warning", warning)
	}
	return cfg, nil
}

// database opens the configured database, which the caller closes.
func database(c *cli.Context) (*sharedbase.SharedBase, error) {
	_, base, err := configured(c)
	return base, err
}

// configured loads the configuration and opens its database, which the caller closes.
func configured(c *cli.Context) (*config.Config, *sharedbase.SharedBase, error) {
	log, err := daemon.Logger(c, c.App.ErrWriter)
	if err != nil {
		return nil, nil, err
	}
	cfg, err := configuration(c, log, sharedbase.CheckDSN)
	if err != nil {
		return nil, nil, err
	}
	base, err := sharedbase.New(cfg.Database.DSN, cmp.Or(cfg.Database.ApplicationName, c.App.Name),
		sharedbase.WithLease(cfg.Winery.Lease), sharedbase.WithHolder(daemon.Role(c.App.Name), daemon.Version()),
		sharedbase.WithConnections(cfg.Winery.DatabaseConnections))
	if err != nil {
		return nil, nil, &config.Error{File: cfg.Path, Key: "objstorage.database.db", Msg: err.Error()}
	}
	return cfg, base, nil
}

// opener loads the configuration and opens its database, which the caller closes.
type opener func(*cli.Context) (*config.Config, *sharedbase.SharedBase, error)

// reading is the opener of commands that only read. They create nothing, and also work without the tables winery_*.
func reading(c *cli.Context) (*config.Config, *sharedbase.SharedBase, error) {
	return checked(c, (*sharedbase.SharedBase).CheckVersion)
}

// changing is the opener of commands that change shards, and need the tables winery_*. Only db init, db upgrade and the
// roles create these tables.
func changing(c *cli.Context) (*config.Config, *sharedbase.SharedBase, error) {
	return checked(c, (*sharedbase.SharedBase).CheckAttached)
}

// checked opens the database as configured does, and calls check with it.
func checked(c *cli.Context, check func(*sharedbase.SharedBase, context.Context) error) (*config.Config, *sharedbase.SharedBase, error) {
	cfg, base, err := configured(c)
	if err != nil {
		return nil, nil, err
	}
	if err := check(base, c.Context); err != nil {
		base.Close()
		return nil, nil, err
	}
	return cfg, base, nil
}

// maxFile is the size in bytes of the largest file that is read where the writer's limit is not configured.
const maxFile = 1 << 30

// connect returns a client of the writer, which the caller closes, and the size in bytes of the largest object.
func connect(c *cli.Context) (winery *client.Client, maxObject int64, err error) {
	log, err := daemon.Logger(c, c.App.ErrWriter)
	if err != nil {
		return nil, 0, err
	}
	address, maxObject := c.String(urlFlag.Name), int64(maxFile)
	if address == "" || c.String("config") != "" {
		cfg, err := configuration(c, log, nil)
		if err != nil {
			return nil, 0, err
		}
		address, maxObject = cmp.Or(address, reach(cfg.Winery.Listen)), cfg.Winery.MaxObjectSize
	}
	var retried atomic.Bool
	winery, err = client.New(address, client.FailUnlessReached(), client.OnRetry(func(err error, wait time.Duration) {
		level := slog.LevelDebug
		if !retried.Swap(true) {
			level = slog.LevelWarn
		}
		log.Log(c.Context, level, "request failed, retrying each request for up to 30 s", "err", err, "retry_in", wait.Round(time.Millisecond))
	}))
	if err != nil {
		return nil, 0, daemon.UsageError("--url: %w", err)
	}
	return winery, maxObject, nil
}

// reach returns the address at which this host reaches a writer that listens on listen.
func reach(listen string) string {
	network, address, err := config.ParseListen(listen)
	if err != nil || network == "unix" {
		return listen
	}
	host, port, _ := net.SplitHostPort(address)
	if ip := net.ParseIP(host); host == "" || ip.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port)
}
