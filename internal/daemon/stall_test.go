// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"bytes"
	"context"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"winery/internal/progress"
)

// Many goroutines with the same stack are printed once, and the output is
// bounded.
func TestStacks(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	for range 1000 {
		go func() { <-release }()
	}
	got := stacks()
	for deadline := time.Now().Add(30 * time.Second); !strings.Contains(got, "\n1000 @ ") && time.Now().Before(deadline); {
		runtime.Gosched() // until all of them wait
		got = stacks()
	}
	if len(got) > maxStacks || !strings.Contains(got, "\n1000 @ ") {
		t.Errorf("%d bytes:\n%.1000s", len(got), got)
	}
}

// A role waits for work, works in steps shorter and longer than a minute, and
// hangs in the end. The times are those of a bubble, and exact.
func TestStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == "stacks" && strings.Contains(a.Value.String(), "synctest") {
				return slog.Attr{}
			}
			return a
		}}))
		notify := newNotifier(log)
		ctx, cancel := context.WithCancel(t.Context())
		status, ended := 0, time.Time{}
		s := &supervisor{log: log, notify: notify, role: "test", limit: 15 * time.Minute, exit: func(code int) {
			status, ended = code, time.Now()
			cancel()
			runtime.Goexit()
		}, flush: func() { log.Info("sent to Sentry") }}
		stop := s.begin()
		began, steps := time.Now(), 0
		var hangs time.Time
		err := Loop(ctx, LoopOptions{Log: log, Notify: notify}, func(ctx context.Context) (bool, error) {
			if time.Since(began) < time.Hour {
				return false, nil
			}
			if steps++; steps <= 10 {
				time.Sleep(50 * time.Second)
				return true, nil
			}
			notify.Status("packing i3f: 41 %%")
			notify.Progress()
			time.Sleep(5 * time.Minute)
			notify.Progress()
			time.Sleep(2 * time.Second)
			notify.Working(progress.Report{Task: "indexing", Shard: "i3f", Limit: 3 * time.Hour})
			time.Sleep(3 * time.Hour)
			notify.Working(progress.Report{Task: "indexing", Shard: "i3f", Limit: 30 * time.Minute}) // and takes longer
			time.Sleep(30*time.Minute + 2*time.Minute + time.Second)
			notify.Status("packing i3f: 41 %%")
			notify.Progress()
			time.Sleep(2 * time.Second)
			hangs = time.Now().Add(-2 * time.Second)
			<-ctx.Done()
			return false, ctx.Err()
		})
		stop()
		if late := ended.Sub(hangs) - s.limit; status != 1 || late < 0 || late > time.Second || err == nil {
			t.Errorf("status %d after %v, error %v", status, ended.Sub(hangs), err)
		}
		warning := func(after string) string {
			return `level=WARN msg="no progress" stalled=` + after + ` status="packing i3f: 41 %" ends_after=15m0s`
		}
		want := []string{
			warning("1m0s"), warning("2m0s"), warning("4m0s"), `level=INFO msg="progress again" status="packing i3f: 41 %"`,
			strings.ReplaceAll(warning("1m0s"), "packing i3f: 41 %", "indexing i3f: at most 30m0s"), strings.ReplaceAll(warning("2m0s"), "packing i3f: 41 %", "indexing i3f: at most 30m0s"),
			`level=INFO msg="progress again" status="packing i3f: 41 %"`,
			warning("1m0s"), warning("2m0s"), warning("4m0s"), warning("8m0s"),
			`level=ERROR msg="no progress: this process exits, its lease expires, and another process continues" ` +
				`stalled=15m0s status="packing i3f: 41 %"`,
			`level=INFO msg="sent to Sentry"`,
		}
		if got := strings.Split(strings.TrimSpace(out.String()), "\n"); !slices.Equal(got, want) {
			t.Errorf("logged:\n%s", out.String())
		}
	})
}

// blocking is a log whose reader hangs until released is closed.
type blocking struct {
	slog.Handler
	released chan struct{}
}

func (b blocking) Enabled(context.Context, slog.Level) bool { return true }

func (b blocking) Handle(context.Context, slog.Record) error { <-b.released; return nil }

// A log that blocks does not keep a stalled process alive.
func TestStallWithBlockedLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := blocking{slog.DiscardHandler, make(chan struct{})}
		log := slog.New(b)
		exited := make(chan int, 2)
		s := &supervisor{log: log, notify: newNotifier(log), role: "test", limit: 15 * time.Minute, exit: func(code int) { exited <- code; runtime.Goexit() }, flush: func() {}}
		s.notify.Progress()
		began := time.Now()
		stop := s.begin()
		if status := <-exited; status != 1 {
			t.Errorf("status %d", status)
		}
		if late := time.Since(began) - s.limit; late < 0 || late > 10*time.Second {
			t.Errorf("it exits %v after the limit", late)
		}
		close(b.released)
		stop()
	})
}
