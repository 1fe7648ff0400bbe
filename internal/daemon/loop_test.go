// SPDX-License-Identifier: GPL-3.0-or-later

package daemon_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"winery/internal/daemon"
	"winery/internal/metrics"
	"winery/pool"
	"winery/test/expect"
)

var errUnavailable = errors.New("the database is unavailable")

// seq is a step that does one thing after the other, and notes when it was
// called. After the last it cancels.
type seq struct {
	steps  []func() (bool, error)
	cancel context.CancelFunc
	calls  []time.Time
}

func (s *seq) step(context.Context) (bool, error) {
	s.calls = append(s.calls, time.Now())
	if len(s.calls) > len(s.steps) {
		s.cancel()
		return false, nil
	}
	return s.steps[len(s.calls)-1]()
}

func idle() (bool, error) { return false, nil }
func work() (bool, error) { return true, nil }
func fail() (bool, error) { return false, errUnavailable }

type notDue struct{ error }

func (notDue) Postponed() {}

func notYet() (bool, error) { return false, fmt.Errorf("step: %w", notDue{errors.New("not due")}) }

// The times are those of a bubble, where the clock advances by itself when all
// wait: they are exact.
func TestLoopWaits(t *testing.T) {
	s := time.Second
	for name, c := range map[string]struct {
		steps []func() (bool, error)
		want  []time.Duration // after each step, a tenth more or less
	}{
		"idle": {
			[]func() (bool, error){idle, idle, idle, idle, idle, idle, idle, idle},
			[]time.Duration{1 * s, 2 * s, 4 * s, 8 * s, 16 * s, 32 * s, 60 * s, 60 * s},
		},
		"failing": {
			[]func() (bool, error){fail, fail, fail, fail, fail, fail, fail, fail, idle},
			[]time.Duration{1 * s, 2 * s, 4 * s, 8 * s, 16 * s, 32 * s, 60 * s, 60 * s, 60 * s},
		},
		"failing after a long time without work": {
			[]func() (bool, error){idle, idle, idle, fail, fail},
			[]time.Duration{1 * s, 2 * s, 4 * s, 1 * s, 2 * s},
		},
		"work resets": {
			[]func() (bool, error){idle, fail, work, work, idle, idle},
			[]time.Duration{1 * s, 1 * s, 0, 0, 1 * s, 2 * s},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				q := &seq{steps: c.steps, cancel: cancel}
				if err := daemon.Loop(ctx, daemon.LoopOptions{Log: slog.New(slog.DiscardHandler)}, q.step); err != nil {
					t.Fatal(err)
				}
				for i, want := range c.want {
					got := q.calls[i+1].Sub(q.calls[i])
					if (got - want).Abs() > want/10 {
						t.Errorf("wait %d: got %v, want %v", i, got, want)
					}
				}
			})
		})
	}
}

func TestLoopWake(t *testing.T) {
	for name, c := range map[string]struct {
		step  func() (bool, error)
		wakes bool
	}{
		"an idle wait ends":             {idle, true},
		"the wait of an error does not": {fail, false},
		"that of postponed work ends":   {notYet, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				q := &seq{steps: []func() (bool, error){c.step}, cancel: cancel}
				wake := make(chan struct{}, 1)
				wake <- struct{}{}
				options := daemon.LoopOptions{Log: slog.New(slog.DiscardHandler), Wake: wake}
				if err := daemon.Loop(ctx, options, q.step); err != nil {
					t.Fatal(err)
				}
				if woken := q.calls[1].Equal(q.calls[0]); woken != c.wakes {
					t.Errorf("next step after %v", q.calls[1].Sub(q.calls[0]))
				}
			})
		})
	}
}

// A burst of notifications makes a step at once, and then one a second.
func TestLoopGathersWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		wake := make(chan struct{}, 1)
		go func() { // 2,000 notifications in 10 s
			for range 2000 {
				select {
				case wake <- struct{}{}:
				default:
				}
				time.Sleep(5 * time.Millisecond)
			}
			time.Sleep(time.Second)
			cancel()
		}()
		began, steps := time.Now(), 0
		var first time.Duration
		options := daemon.LoopOptions{Log: slog.New(slog.DiscardHandler), Wake: wake}
		if err := daemon.Loop(ctx, options, func(context.Context) (bool, error) {
			if steps++; steps == 2 {
				first = time.Since(began)
			}
			return false, nil
		}); err != nil {
			t.Fatal(err)
		}
		if steps > 13 || first > 5*time.Millisecond {
			t.Errorf("%d steps; the first notification was heard after %v", steps, first)
		}
	})
}

func TestLoopEnds(t *testing.T) {
	var permanent *backoff.PermanentError
	var panicked *daemon.PanicError
	for name, c := range map[string]struct {
		options daemon.LoopOptions
		steps   []func() (bool, error)
		is      func(error) bool
	}{
		"when there is nothing more to do": {
			daemon.LoopOptions{StopWhenIdle: true},
			[]func() (bool, error){work, work, idle},
			func(err error) bool { return err == nil },
		},
		"at the first error, with StopWhenIdle": {
			daemon.LoopOptions{StopWhenIdle: true},
			[]func() (bool, error){work, fail},
			func(err error) bool { return errors.Is(err, errUnavailable) },
		},
		"at an error that is marked permanent": {
			daemon.LoopOptions{},
			[]func() (bool, error){fail, func() (bool, error) { return false, backoff.Permanent(errUnavailable) }},
			func(err error) bool { return errors.As(err, &permanent) && errors.Is(err, errUnavailable) },
		},
		"once a store has fenced the process off": {
			daemon.LoopOptions{},
			[]func() (bool, error){func() (bool, error) { return true, fmt.Errorf("packing: %w", pool.ErrFenced) }},
			func(err error) bool { return errors.Is(err, pool.ErrFenced) },
		},
		"at a panic": {
			daemon.LoopOptions{},
			[]func() (bool, error){func() (bool, error) { panic("bug") }},
			func(err error) bool {
				return errors.As(err, &panicked) && err.Error() == "internal error: bug" &&
					bytes.Contains(panicked.Stack, []byte("loop_test.go"))
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c.options.Log = slog.New(slog.DiscardHandler)
				q := &seq{steps: c.steps, cancel: func() { t.Error("went on") }}
				if err := daemon.Loop(t.Context(), c.options, q.step); !c.is(err) {
					t.Errorf("got %v", err)
				}
				if len(q.calls) != len(c.steps) {
					t.Errorf("%d steps, want %d", len(q.calls), len(c.steps))
				}
			})
		})
	}
}

// Finish and the context end a wait at once, and no step begins after them.
func TestLoopStops(t *testing.T) {
	for _, step := range []func() (bool, error){idle, fail} {
		for _, by := range []string{"finish", "context"} {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				finish := make(chan struct{})
				time.AfterFunc(100*time.Millisecond, func() {
					if by == "finish" {
						close(finish)
					} else {
						cancel()
					}
				})
				q := &seq{steps: []func() (bool, error){step}, cancel: func() { t.Error("went on") }}
				start := time.Now()
				options := daemon.LoopOptions{Log: slog.New(slog.DiscardHandler), Finish: finish}
				if err := daemon.Loop(ctx, options, q.step); err != nil {
					t.Error(err)
				}
				if waited := time.Since(start); waited != 100*time.Millisecond {
					t.Errorf("%s: ended after %v", by, waited)
				}
			})
		}
	}
}

// What a step says while its context ends is the caller's to judge.
func TestLoopAborted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	err := daemon.Loop(ctx, daemon.LoopOptions{Log: slog.New(slog.DiscardHandler)}, func(ctx context.Context) (bool, error) {
		cancel()
		return false, errors.Join(ctx.Err(), errUnavailable)
	})
	if !errors.Is(err, errUnavailable) {
		t.Errorf("got %v", err)
	}
}

// Each failure is one line, with the role's fields and the wait; being idle is
// not worth one.
func TestLoopLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		ctx, cancel := context.WithCancel(t.Context())
		q := &seq{steps: []func() (bool, error){fail, idle, work, fail, notYet, notYet}, cancel: cancel}
		log := slog.New(slog.NewTextHandler(&out, nil)).With("role", "packer")
		if err := daemon.Loop(ctx, daemon.LoopOptions{Log: log}, q.step); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != 2 {
			t.Fatalf("got %d lines:\n%s", len(lines), out.String())
		}
		for _, line := range lines {
			for _, part := range []string{"level=ERROR", "role=packer", `err="the database is unavailable"`, "retry_in="} {
				if !strings.Contains(line, part) {
					t.Errorf("no %s in %s", part, line)
				}
			}
		}
	})
}

// While work that failed is postponed, the role shows a failure; but none is counted.
func TestLoopPostponed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := metrics.FromEnvironment(slog.New(slog.DiscardHandler))
		expect.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		q := &seq{steps: []func() (bool, error){fail, notYet, notYet}, cancel: cancel}
		step := func(ctx context.Context) (bool, error) {
			if len(q.calls) == 3 {
				wantMetrics(t, m, `winery_step_failures_total{part="",role="packer"} 1`, `winery_backoff_seconds{part="",role="packer"} [1-9]`)
			}
			return q.step(ctx)
		}
		expect.NoError(t, daemon.Loop(ctx, daemon.LoopOptions{Log: slog.New(slog.DiscardHandler), Metrics: m, Role: "packer"}, step))
	})
}

// wantMetrics fails unless there is a line that matches each pattern, braces as they are.
func wantMetrics(t *testing.T, m *metrics.Client, patterns ...string) {
	t.Helper()
	answer := httptest.NewRecorder()
	promhttp.HandlerFor(m.Registry(), promhttp.HandlerOpts{}).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, pattern := range patterns {
		if !regexp.MustCompile(strings.NewReplacer("{", `\{`, "}", `\}`).Replace(pattern)).MatchString(answer.Body.String()) {
			t.Errorf("no metric %s", pattern)
		}
	}
}
