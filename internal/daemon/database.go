// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"cmp"
	"context"
	"errors"
	"log/slog"

	"github.com/cenkalti/backoff/v4"
	"golang.org/x/sync/errgroup"

	"winery/internal/config"
	"winery/sharedbase"
)

// checkDSN is [sharedbase.CheckDSN] without errors that may pass: with these, OpenDatabase
// fails, and the role is started again.
func checkDSN(dsn string) error {
	if err := sharedbase.CheckDSN(dsn); err != nil && !config.MayPass(err) {
		return err
	}
	return nil
}

// OpenDatabase opens the configured database and waits until it answers; with
// StopWhenIdle it does not wait. It fails with an error that names the cure if
// the database has no schema, or one of another version. Claims are made for this
// role, with the configured lease. It warns of settings of the server that can
// lose acknowledged objects. From then on the role sends heartbeats. The database is
// closed once the role's run has returned. Call it once; more are options beside those of
// the configuration.
func (e *Env) OpenDatabase(ctx context.Context, more ...sharedbase.Option) (*sharedbase.SharedBase, error) {
	db := e.Config.Database
	base, err := sharedbase.New(db.DSN, cmp.Or(db.ApplicationName, e.CLI.App.Name), append(more,
		sharedbase.WithLease(e.Config.Winery.Lease), sharedbase.WithHolder(e.Role, Version()),
		sharedbase.WithConnections(e.Config.Winery.DatabaseConnections))...)
	if err != nil {
		return nil, err
	}
	e.Telemetry.WatchDatabase(base)
	unsafe, err := e.waitForDatabase(ctx, base)
	if err != nil {
		base.Close()
		return nil, err
	}
	e.Telemetry.DatabaseReady()
	for _, s := range unsafe {
		e.Log.Warn("unsafe setting of PostgreSQL", "setting", s.Name, "value", s.Value, "consequence", s.Consequence)
	}
	e.base, e.heartbeats = base, beginHeartbeats(base, e.Notify, e.Log)
	return base, nil
}

// closeDatabase ends the heartbeats of a role whose run has returned.
func (e *Env) closeDatabase(failed bool) {
	if e.base == nil {
		return
	}
	e.heartbeats.end(failed)
	e.base.Close()
}

// waitForDatabase attaches this program.
func (e *Env) waitForDatabase(ctx context.Context, base *sharedbase.SharedBase) (unsafe []sharedbase.UnsafeSetting, err error) {
	wait := startWait{"database", "waiting for the database", "the database answers", slog.LevelWarn}
	err = e.until(ctx, wait, func(ctx context.Context) error {
		if err := attach(ctx, base); err != nil {
			return err
		}
		unsafe, err = base.UnsafeSettings(ctx)
		return err
	})
	return unsafe, err
}

// attach marks what only a person can cure as permanent.
func attach(ctx context.Context, base *sharedbase.SharedBase) error {
	err := base.Attach(ctx)
	if errors.Is(err, sharedbase.ErrNotInitialised) || errors.As(err, new(*sharedbase.VersionError)) ||
		errors.As(err, new(*sharedbase.ModuleError)) {
		return backoff.Permanent(err)
	}
	return err
}

// Part is a loop of a role.
type Part struct {
	Notify *Notifier // the role's; of several parts, one of its own each: [Notifier.Part]
	Step   Step
	// States are those from which the part takes shards: notifications from the
	// database about shards in one of them wake it.
	States   []sharedbase.ShardState
	WaitsFor string // for the status: "full shards"
}

// Loops runs each part in a loop, side by side and with this role's settings, until
// all have ended. An error that ends one ends the others. One connection listens for all.
func (e *Env) Loops(ctx context.Context, base *sharedbase.SharedBase, parts ...Part) error {
	group, ctx := errgroup.WithContext(ctx)
	listening, stop := context.WithCancel(ctx)
	defer stop()
	wakers := make([]waker, len(parts))
	if !e.StopWhenIdle {
		for i, p := range parts {
			wakers[i] = newWaker(p.States...)
		}
		listen(listening, base, e.Log, wakers...)
	}
	for i, p := range parts {
		group.Go(func() error { return e.loop(ctx, p, wakers[i].up) })
	}
	return group.Wait()
}

func (e *Env) loop(ctx context.Context, p Part, wake <-chan struct{}) error {
	options := loopOptions{
		Log: e.Log, Notify: p.Notify, Finish: e.Finishing.Done(), StopWhenIdle: e.StopWhenIdle,
		Metrics: e.Metrics, Role: e.Role, Part: p.Notify.name,
		WaitsFor: p.WaitsFor, Wake: wake,
	}
	return loop(ctx, options, p.Step)
}
