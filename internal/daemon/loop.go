// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v4"

	"winery/internal/metrics"
	"winery/pool"
	"winery/sharedbase"
)

// Step does one piece of a role's work. worked is false if there was nothing to
// do. When ctx ends it gives its work up, soon.
type Step func(ctx context.Context) (worked bool, err error)

// Postponed is an error of a step that tried nothing, because work that failed before is
// not due yet: the loop fails, but logs and counts no new failure, and wakes up for other
// work.
type Postponed interface {
	error
	Postponed()
}

// loopOptions are the settings of loop. Log and Notify must be set.
type loopOptions struct {
	Log          *slog.Logger
	Notify       *Notifier
	Wake         <-chan struct{} // ends an idle wait
	Finish       <-chan struct{} // when closed, no further step begins
	StopWhenIdle bool            // return instead of waiting
	Metrics      *metrics.Client
	Role, Part   string // for the metrics; Part is "" where the role has one loop
	WaitsFor     string // for the status of an idle wait: "full shards"

	woken time.Time // when Wake last ended a wait
	since time.Time // of the first of several failures; zero: the last step did not fail
}

// loop calls step repeatedly, with the waits that the package comment
// describes in between. It returns nil once Finish is closed or ctx ends
// between two steps; with StopWhenIdle also when a step had nothing to do.
// It returns a step's error if ctx ended during the step, with StopWhenIdle, if
// it is marked by backoff.Permanent or is pool.ErrFenced, and if the step
// panicked; other errors are logged, once a wait.
func loop(ctx context.Context, o loopOptions, step Step) error {
	wait := newBackOff()
	o.Metrics.LoopBegins(o.Role, o.Part)
	for ctx.Err() == nil && !closed(o.Finish) {
		o.Notify.begin()
		var worked bool
		err := guard(func() (err error) {
			worked, err = step(ctx)
			return err
		})
		if err == nil {
			o.Metrics.BackOff(o.Role, o.Part, 0)
			o.since = time.Time{}
		} else {
			if !postponed(err) {
				o.Metrics.StepFailed(o.Role, o.Part)
			}
			if errors.Is(err, sharedbase.ErrLeaseLost) {
				o.Metrics.LeaseLost(o.Role)
			}
			if o.since.IsZero() {
				o.since = time.Now()
				wait.Reset() // of a long time without work
			}
		}
		o.Notify.failing(err != nil)
		switch {
		case err != nil && (ctx.Err() != nil || o.StopWhenIdle || final(err)):
			return err
		case err == nil && worked:
			wait.Reset()
			continue
		case err == nil && o.StopWhenIdle:
			return nil
		}
		o.pause(ctx, wait.NextBackOff(), err)
	}
	return nil
}

// pause waits after a step that had nothing to do or failed with err.
func (o *loopOptions) pause(ctx context.Context, wait time.Duration, err error) {
	wake := o.Wake
	if err != nil {
		if postponed(err) {
			o.Log.Debug("no work is due, failed work is retried later", "err", err, "retry_in", wait)
		} else {
			wake = nil
			o.Log.Error("step failed", "err", err, "retry_in", wait)
		}
		o.Metrics.BackOff(o.Role, o.Part, wait)
		if errors.Is(err, sharedbase.ErrUnavailable) {
			o.Notify.waitsForDatabase(o.since, err)
		} else {
			o.Notify.Status("failing since %s, retry in %v: %v", clock(o.since), wait.Round(time.Second), err)
		}
	} else {
		o.Log.Debug("nothing to do", "wait", wait)
		o.Notify.Status("waiting for %s", o.WaitsFor)
	}
	o.Notify.waiting()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-wake:
		o.gather(ctx)
	case <-o.Finish:
	case <-ctx.Done():
	}
}

// gather waits until wakeInterval has passed since Wake last ended a wait. All
// notifications until then are combined.
func (o *loopOptions) gather(ctx context.Context) {
	select {
	case <-time.After(time.Until(o.woken.Add(wakeInterval))):
	case <-o.Finish:
	case <-ctx.Done():
	}
	o.woken = time.Now()
	select {
	case <-o.Wake:
	default:
	}
}

func postponed(err error) bool { return errors.As(err, new(Postponed)) }

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// final reports whether err is one that a retry of this process cannot cure.
func final(err error) bool {
	return errors.Is(err, pool.ErrFenced) ||
		errors.As(err, new(*backoff.PermanentError)) || errors.As(err, new(*panicError))
}

func newBackOff() *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(time.Second),
		backoff.WithMultiplier(2),
		backoff.WithMaxInterval(60*time.Second),
		backoff.WithRandomizationFactor(0.1),
		backoff.WithMaxElapsedTime(0),
	)
}
