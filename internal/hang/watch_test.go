// SPDX-License-Identifier: GPL-3.0-or-later

package hang_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"winery/internal/hang"
)

const limit = time.Minute

var at = hang.Place{Pool: "a", Image: "a"}

// work makes one call of a store for so long, or until ctx ends.
func work(ctx context.Context, begin hang.Begin, lasts time.Duration) error {
	defer begin()(true)
	select {
	case <-time.After(lasts):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// TestWatchCounts: what counts is the time in calls of which none returns, not that of all
// calls, nor that in between.
func TestWatchCounts(t *testing.T) {
	for what, c := range map[string]struct {
		do     func(context.Context, hang.Begin) error
		silent bool
		after  time.Duration
	}{
		"calls in a row": {func(ctx context.Context, begin hang.Begin) (err error) {
			for i := 0; i < 100 && err == nil; i++ {
				err = work(ctx, begin, limit-1)
			}
			return err
		}, false, 100 * (limit - 1)},
		"no call": {func(context.Context, hang.Begin) error { time.Sleep(100 * limit); return nil }, false, 100 * limit},
		"a pause between calls": {func(ctx context.Context, begin hang.Begin) error {
			err := work(ctx, begin, 1)
			time.Sleep(100 * limit)
			return errors.Join(err, work(ctx, begin, 1))
		}, false, 100*limit + 2},
		"a call beside others that return": {func(ctx context.Context, begin hang.Begin) (err error) {
			end := begin()
			for i := 0; i < 10 && err == nil; i++ {
				err = work(ctx, begin, limit-1)
			}
			end(true)
			return err
		}, false, 10 * (limit - 1)},
		"a call that outlasts the others": {func(ctx context.Context, begin hang.Begin) error {
			others := make(chan error, 1)
			go func() { others <- work(ctx, begin, limit-1) }()
			return errors.Join(work(ctx, begin, 3*limit), <-others)
		}, true, 2*limit - 1},
		"one call": {func(ctx context.Context, begin hang.Begin) error { return work(ctx, begin, limit+1) }, true, limit},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var left hang.Calls
				began := time.Now()
				value, err := hang.Watch(t.Context(), limit, &left, at, func(ctx context.Context, begin hang.Begin) (int, error) { return 1, c.do(ctx, begin) })
				if took := time.Since(began); took != c.after || value != 1 {
					t.Errorf("%d after %v, want 1 after %v", value, took, c.after)
				}
				if silent, ok := errors.AsType[*hang.SilentError](err); ok != c.silent || ok && silent.Limit != limit || !ok && err != nil {
					t.Error(err)
				}
				if left.Hangs(at) {
					t.Error("it was left behind")
				}
			})
		})
	}
}

// TestWatchLeavesBehind: work that does not hear that it must end is left behind until it
// returns; its context has ended by then.
func TestWatchLeavesBehind(t *testing.T) {
	cause := errors.New("cause")
	for what, stop := range map[string]bool{"a call hangs": false, "the caller ends": true} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				if stop {
					time.AfterFunc(limit/2, func() { cancel(cause) })
				}
				var left hang.Calls
				var heard error
				release := make(chan struct{})
				value, err := hang.Watch(ctx, limit, &left, at, func(ctx context.Context, begin hang.Begin) (int, error) {
					defer begin()(true)
					<-release
					heard = ctx.Err()
					return 1, nil
				})
				if _, silent := errors.AsType[*hang.SilentError](err); value != 0 || silent == stop || errors.Is(err, cause) != stop {
					t.Errorf("%d, %v", value, err)
				}
				if !left.Hangs(at) || left.In(at.Pool) != 1 {
					t.Error("nothing was left behind")
				}
				close(release)
				synctest.Wait()
				if left.Hangs(at) || heard == nil {
					t.Errorf("after it has returned, hangs: %v, its context: %v", left.Hangs(at), heard)
				}
			})
		})
	}
}
