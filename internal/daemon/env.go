// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"winery/internal/config"
	"winery/internal/limits"
	"winery/internal/metrics"
	"winery/internal/sentry"
	"winery/internal/telemetry"
	"winery/sharedbase"
)

// Env has what a role needs to work.
type Env struct {
	Config  *config.Config
	Role    string       // as [Role] returns it, but "reader" for a winery-writer that is read-only
	Log     *slog.Logger // to stderr; carries the role's name
	CLI     *cli.Context // for the role's own flags
	Notify  *Notifier
	Metrics *metrics.Client
	// Telemetry is nil where no metrics are served.
	Telemetry *telemetry.Server
	// Finishing ends by SIGINT, and when run's context ends: complete the current
	// step, then stop.
	Finishing context.Context
	// StopWhenIdle is set by StopFlag.
	StopWhenIdle bool

	base       *sharedbase.SharedBase // nil until OpenDatabase
	heartbeats *heartbeats            // of base
	reloads    *reloads
}

// Flags returns the flags that every program has.
func Flags() []cli.Flag {
	return append([]cli.Flag{&cli.StringFlag{
		Name:    "config",
		Usage:   "read the configuration from `FILE`",
		EnvVars: []string{"WINERY_CONFIG", "SWH_CONFIG_FILENAME"},
	}}, logFlags()...)
}

// StopFlag makes Env.Loops return when no work is left.
var StopFlag = &cli.BoolFlag{
	Name:  "stop-instead-of-waiting",
	Usage: "do all available work, then exit; exit with status 1 at the first failure",
}

// Role returns what logs, metrics, leases and quarantines call a program:
// "packer" for winery-packer, "mapper" for winery-rbd-mapper, "wineryctl".
func Role(program string) string {
	return strings.TrimPrefix(strings.TrimPrefix(program, "winery-"), "rbd-")
}

// role returns the action of a role's command line: it prepares an Env and calls run.
func role(run func(context.Context, *Env) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		if c.Args().Present() {
			return UsageError("unexpected argument %q; see --help", c.Args().First())
		}
		level := &slog.LevelVar{}
		log, err := roleLogger(c, level)
		if err != nil {
			return err
		}
		toSentry, flush, err := sentry.NewHandler(c.App.Name, Version())
		if err != nil {
			return UsageError("%w", err)
		}
		defer flush()
		if toSentry != nil {
			log = slog.New(slog.NewMultiHandler(log.Handler(), toSentry))
		}
		cfg, err := config.Load(c.String("config"), checkDSN)
		if err != nil {
			return err
		}
		role := Role(c.App.Name)
		if role == "writer" && cfg.ReadOnly {
			role = "reader"
		}
		log = log.With("role", role)
		slog.SetDefault(log) // for what is logged by package storage, and by libraries
		for _, warning := range cfg.Warnings {
			log.Warn("configuration warning", "warning", warning)
		}
		own := limits.Get()
		own.Apply()
		log.Info("starting", "version", Version(), "config", cfg.Path, "limits", own)

		measured, err := metrics.FromEnvironment(log)
		if err != nil {
			return UsageError("%w", err)
		}
		defer measured.Close()
		notify := newNotifier(log)
		server, err := serveTelemetry(c.Context, c, cfg, role, measured, notify, log)
		if err != nil {
			return err
		}
		defer server.Close()
		watch := &supervisor{log: log, notify: notify, metrics: measured, role: role, limit: cfg.Winery.StallLimit, exit: os.Exit, flush: flush}
		defer watch.begin()()
		hangup := &reloads{}
		if c.IsSet(logLevelFile) {
			hangup.add("log level", func() error { return setLogLevel(c, level) })
		}
		ctx, finishing, stop := signals(c.Context, log, flush, hangup)
		defer stop()
		defer context.AfterFunc(ctx, notify.stopping)()
		env := &Env{
			Config: cfg, Role: role, Log: log, CLI: c, Notify: notify, Metrics: measured, Telemetry: server,
			Finishing: finishing, StopWhenIdle: c.Bool(StopFlag.Name), reloads: hangup,
		}
		err = guard(func() error { return run(ctx, env) })
		notify.stopping()
		err = outcome(finishing, log, notify, err)
		env.closeDatabase(err != nil)
		return err
	}
}

// outcome logs how a role ended. What a signal interrupted is no failure.
func outcome(finishing context.Context, log *slog.Logger, notify *Notifier, err error) error {
	var panicked *panicError
	switch {
	case err == nil:
		log.Info("ended")
		return nil
	case finishing.Err() != nil && errors.Is(err, context.Canceled):
		log.Info("stopped", "interrupted", err)
		return nil
	case errors.As(err, &panicked):
		log.Debug("panic", "stack", string(panicked.Stack))
	}
	log.Error("failed", "err", err)
	notify.Status("failed: %v", err)
	notify.failing(true)
	return &loggedError{err}
}
