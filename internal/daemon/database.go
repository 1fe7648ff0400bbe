// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v4"

	"winery/internal/config"
	"winery/sharedbase"
)

// OpenDatabase opens the configured database and waits until it answers; with
// StopWhenIdle it gives up at once. It fails with a cure where the database has
// no schema or another one than this program's. Claims are made for this role,
// with the configured lease. The caller closes it.
func (e *Env) OpenDatabase(ctx context.Context) (*sharedbase.SharedBase, error) {
	db := e.Config.Database
	base, err := sharedbase.New(db.DSN, cmp.Or(db.ApplicationName, e.CLI.App.Name),
		sharedbase.WithLease(e.Config.Winery.Lease), sharedbase.WithHolder(e.CLI.App.Name, Version()))
	if err != nil {
		return nil, &config.Error{File: e.Config.Path, Key: "objstorage.database.db", Msg: err.Error()}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.Finishing, cancel)()
	err = backoff.RetryNotify(
		func() error {
			err := attach(ctx, base)
			if e.StopWhenIdle {
				return backoff.Permanent(err)
			}
			return err
		},
		backoff.WithContext(newBackOff(), ctx),
		func(err error, wait time.Duration) {
			e.Log.Error("waiting for the database", "error", err, "retry_in", wait)
			e.Notify.Status("waiting for the database: %v", err)
		})
	if err != nil {
		base.Close()
		return nil, err
	}
	return base, nil
}

// attach marks what only a person can cure as permanent.
func attach(ctx context.Context, base *sharedbase.SharedBase) error {
	err := base.Attach(ctx)
	if errors.Is(err, sharedbase.ErrNotInitialised) || errors.As(err, new(*sharedbase.VersionError)) {
		return backoff.Permanent(err)
	}
	return err
}

// Loop is the package's Loop with this role's settings, woken by base.
func (e *Env) Loop(ctx context.Context, base *sharedbase.SharedBase, step Step) error {
	defer e.Reclaim(ctx, base)()
	options := LoopOptions{
		Log: e.Log, Notify: e.Notify, Finish: e.Finishing.Done(), StopWhenIdle: e.StopWhenIdle,
		Metrics: e.Metrics, Role: e.CLI.App.Name,
	}
	listening, stop := context.WithCancel(ctx)
	defer stop()
	if !e.StopWhenIdle {
		options.Wake = Wake(listening, base, e.Log)
	}
	return Loop(ctx, options, step)
}

// Wake listens in the background, until ctx ends, for shards that change state.
// Any number of changes since the channel was last read make one value in it.
// While the database cannot be listened to, which is logged once an outage, the
// channel stays silent.
func Wake(ctx context.Context, base *sharedbase.SharedBase, log *slog.Logger) <-chan struct{} {
	wake := make(chan struct{}, 1)
	go func() {
		wait := newBackOff()
		level := slog.LevelWarn
		for ctx.Err() == nil {
			err := base.Listen(ctx, func(string, sharedbase.ShardState) {
				wait.Reset()
				level = slog.LevelWarn
				select {
				case wake <- struct{}{}:
				default: // one that is not read yet does for both
				}
			})
			if ctx.Err() != nil {
				return
			}
			log.Log(ctx, level, "not listening to the database; polling goes on", "error", err)
			level = slog.LevelDebug
			select {
			case <-time.After(wait.NextBackOff()):
			case <-ctx.Done():
			}
		}
	}()
	return wake
}
