// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/urfave/cli/v2"

	"winery/internal/config"
	"winery/internal/daemon"
	"winery/internal/httpapi/access"
	"winery/internal/httpapi/rpc/client"
	"winery/sharedbase"
)

// Flags of the commands that send requests to the writer.
var (
	urlFlag = &cli.StringFlag{
		Name:    "url",
		Usage:   "send requests to the writer at `ADDRESS`: http://HOST:PORT, https://HOST:PORT or unix:/PATH (default: winery.listen of the configuration)",
		EnvVars: []string{"WINERY_URL"},
	}
	tokenFileFlag = &cli.StringFlag{
		Name:    "token-file",
		Usage:   "send the token in `FILE` with each request to the writer",
		EnvVars: []string{"WINERY_TOKEN_FILE"},
	}
	caFlag = &cli.StringFlag{
		Name:    "ca",
		Usage:   "trust a writer whose certificate was signed by an authority in `FILE`, in PEM (default: the authorities of the system)",
		EnvVars: []string{"WINERY_CA"},
	}
)

// configuration loads the file that --config names, and logs the warnings about its keys. checkDSN is that of
// [config.Load].
func configuration(c *cli.Context, log *slog.Logger, checkDSN func(string) error) (*config.Config, error) {
	cfg, err := config.Load(c.String("config"), checkDSN)
	if err != nil {
		return nil, err
	}
	for _, warning := range cfg.Warnings {
		log.Warn("configuration warning", "warning", warning)
	}
	return cfg, nil
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
		return nil, nil, err
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
func connect(c *cli.Context, more ...client.Option) (winery *client.Client, maxObject int64, err error) {
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
		address, maxObject = cmp.Or(address, reach(cfg.Winery)), cfg.Winery.MaxObjectSize
	}
	options, err := credentials(c)
	if err != nil {
		return nil, 0, err
	}
	options = append(options, more...)
	var retried atomic.Bool
	options = append(options, client.FailUnlessReached(), client.OnRetry(func(err error, wait time.Duration) {
		level := slog.LevelDebug
		if !retried.Swap(true) {
			level = slog.LevelWarn
		}
		log.Log(c.Context, level, "request failed, retrying each request for up to 30 s", "err", err, "retry_in", wait.Round(time.Millisecond))
	}))
	if winery, err = client.New(address, options...); err != nil {
		return nil, 0, daemon.UsageError("--url: %w", err)
	}
	return winery, maxObject, nil
}

// credentials are the options of a client that authenticates, as far as the flags ask for it.
func credentials(c *cli.Context) (options []client.Option, err error) {
	if path := c.String(tokenFileFlag.Name); path != "" {
		token, err := os.ReadFile(path) //nolint:gosec // the operator names the file
		if err != nil {
			return nil, daemon.UsageError("--%s: %w", tokenFileFlag.Name, err)
		}
		options = append(options, client.Token(strings.TrimSpace(string(token))))
	}
	if path := c.String(caFlag.Name); path != "" {
		authorities, err := access.Authorities(path)
		if err != nil {
			return nil, daemon.UsageError("--%s: %w", caFlag.Name, err)
		}
		options = append(options, client.Authorities(authorities))
	}
	return options, nil
}

// reach returns the address at which this host reaches the writer.
func reach(w config.Winery) string {
	network, address, err := config.ParseListen(w.Listen)
	if err != nil || network == "unix" {
		return w.Listen
	}
	host, port, _ := net.SplitHostPort(address)
	if ip := net.ParseIP(host); host == "" || ip.IsUnspecified() {
		host = "localhost"
	}
	scheme := "http://"
	if w.TLS.Certificate != "" {
		scheme = "https://"
	}
	return scheme + net.JoinHostPort(host, port)
}
