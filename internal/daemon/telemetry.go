// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"winery/internal/config"
	"winery/internal/httpapi"
	"winery/internal/metrics"
	"winery/internal/telemetry"
)

// The flags of the listener for metrics and health. They are no settings of the
// configuration, because all processes of a host share that.
const (
	telemetryListen = "telemetry-listen"
	telemetryConfig = "telemetry-web-config"
	telemetryOff    = "off"
)

// telemetryDefaults are the addresses of the roles, by the role's name.
var telemetryDefaults = map[string]string{
	"writer": "127.0.0.1:5004", "packer": "127.0.0.1:5005", "mapper": "127.0.0.1:5006", "cleaner": "127.0.0.1:5007",
}

func telemetryFlags(program string) []cli.Flag {
	address := telemetryDefaults[Role(program)]
	if address == "" {
		address = telemetryOff
	}
	return []cli.Flag{
		&cli.StringFlag{
			Name: telemetryListen, Value: address, EnvVars: []string{"WINERY_TELEMETRY_LISTEN"},
			Usage: "serve metrics and health on `ADDRESS`: HOST:PORT, unix:/PATH or off; if the default is in use, on another port of 127.0.0.1",
		},
		&cli.StringFlag{
			Name: telemetryConfig, EnvVars: []string{"WINERY_TELEMETRY_WEB_CONFIG"},
			Usage: "read TLS and authentication of --" + telemetryListen + " from `FILE`, a web configuration file as of Prometheus",
		},
	}
}

// serveTelemetry begins to answer for this process, with the role's notify and
// configuration. It returns nil where the flags say that it does not.
func serveTelemetry(ctx context.Context, c *cli.Context, cfg *config.Config, role string, m *metrics.Client, notify *Notifier, log *slog.Logger) (*telemetry.Server, error) {
	m.Running(role, Version(), configHash(cfg), slices.Collect(maps.Keys(cfg.MaxSizes())))
	l, err := listenTelemetry(ctx, c, log)
	if l == nil || err != nil {
		return nil, err
	}
	webConfig := c.String(telemetryConfig)
	if err := telemetry.CheckWebConfig(webConfig); err != nil {
		return nil, errors.Join(config.FileError("--"+telemetryConfig+": "+webConfig, err), l.Close())
	}
	log.Info("serving metrics and health", "address", l.Addr().String())
	if webConfig == "" && !config.OnlyLocal(l.Addr().Network(), l.Addr().String()) {
		log.Warn("metrics and health are served to other hosts without authentication", "address", l.Addr().String(), "cure", "--"+telemetryConfig)
	}
	server := telemetry.Serve(l, telemetry.Options{
		Registry: m.Registry(), Role: role, WebConfig: webConfig, Log: log,
		Live: func() error { return live(notify, cfg.Winery.StallLimit) },
	})
	server.Requires("role", notify.whyNotReady)
	return server, nil
}

// listenTelemetry returns nil where nothing is to be served: by default, that is so
// for a process that ends by itself. A default address that cannot be had, because
// another packer of the host has it, must not keep a role from its work. One that
// was asked for must be free.
func listenTelemetry(ctx context.Context, c *cli.Context, log *slog.Logger) (net.Listener, error) {
	address, asked := c.String(telemetryListen), c.IsSet(telemetryListen)
	if address == telemetryOff || !asked && c.Bool(StopFlag.Name) {
		return nil, nil
	}
	network, address, err := config.ParseListen(address)
	if err != nil {
		return nil, UsageError("--%s: %w", telemetryListen, err)
	}
	l, err := httpapi.Listen(ctx, network, address)
	if err != nil && !asked {
		if l, err = httpapi.Listen(ctx, "tcp", "127.0.0.1:0"); err != nil {
			log.Warn("metrics and health are not served", "err", err)
			return nil, nil
		}
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("--%s: %w; give each process of a host an address of its own", telemetryListen, err)
	case err != nil:
		return nil, fmt.Errorf("--%s: %w", telemetryListen, err)
	}
	return l, nil
}

// live returns an error once half of the time has passed after which a process that
// makes no progress exits by itself.
func live(notify *Notifier, limit time.Duration) error {
	if stalled, _ := notify.stalled(); stalled >= limit/2 {
		return telemetry.Reason(fmt.Sprintf("no progress for %v; the process exits after %v", stalled, limit))
	}
	return nil
}

// configHash returns the SHA-256 of the configuration with its defaults, by which
// hosts are compared. The database's DSN is left out, since it may hold a password.
func configHash(cfg *config.Config) string {
	public := *cfg
	public.Path, public.Database.DSN, public.Warnings = "", "", nil
	text, _ := json.Marshal(public) // strings, numbers and lists: it cannot fail
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
