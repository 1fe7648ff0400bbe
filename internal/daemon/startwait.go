// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"context"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// startWait is what a role waits for at its start.
type startWait struct {
	condition string     // of /readyz that fails meanwhile
	waiting   string     // the log message, and the status
	over      string     // the log message at the end
	level     slog.Level // at which a reason to wait is logged
}

// until calls try until it succeeds; with StopWhenIdle, once. Each reason to wait is logged once, and at level debug
// with each further try.
func (e *Env) until(ctx context.Context, w startWait, try func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.Finishing, cancel)()
	reported, began := "", time.Now()
	report := func(err error, wait time.Duration) {
		e.Notify.Status("%s since %s: %v", w.waiting, clock(began), err)
		e.Notify.failing(true)
		e.Telemetry.Fails(w.condition, err)
		e.Metrics.BackOff(e.Role, "", wait)
		level := w.level
		if err.Error() == reported {
			level = slog.LevelDebug
		}
		reported = err.Error()
		e.Log.Log(ctx, level, w.waiting, "err", err, "retry_in", wait) //nolint:sloglint // a constant of the caller
	}
	err := backoff.RetryNotify(func() error {
		err := try(ctx)
		if e.StopWhenIdle {
			return backoff.Permanent(err)
		}
		return err
	}, backoff.WithContext(newBackOff(), ctx), report)
	e.Notify.failing(err != nil)
	if err == nil && reported != "" {
		e.Metrics.BackOff(e.Role, "", 0)
		e.Log.Info(w.over) //nolint:sloglint // a constant of the caller
	}
	return err
}
