// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"bytes"
	"context"
	"log/slog"
	"runtime/pprof"
	"time"

	"winery/internal/metrics"
)

// supervisor monitors the progress of a role from another goroutine, because a
// call that hangs in a device or a library ignores its context.
type supervisor struct {
	log     *slog.Logger
	notify  *Notifier
	metrics *metrics.Client
	role    string
	limit   time.Duration // without progress, after which the process ends
	exit    func(status int)
	flush   func() // sends what was logged last to where it is sent later
	aside   *aside // of begin
}

// begin supervises until the returned function is called. The first warning
// comes after a fifteenth of the limit, each further one after twice the time.
func (s *supervisor) begin() (stop func()) {
	s.aside = newAside()
	first := s.limit / 15
	next := first
	stopChecks := Background(context.Background(), func(ctx context.Context) {
		every(ctx, time.Second, func() { next = s.check(first, next) })
	})
	return func() { stopChecks(); s.aside.end() }
}

// check warns of a stall that has lasted until next, and returns when to warn
// again. It ends the process at the limit, even if the log blocks.
func (s *supervisor) check(first, next time.Duration) time.Duration {
	stalled, status := s.notify.stalled()
	s.metrics.Stalled(s.role, stalled)
	switch {
	case stalled >= s.limit:
		exitAfter(func() {
			s.metrics.Close()
			s.log.Error("no progress: this process exits, its lease expires, and another process continues",
				"stalled", stalled, "status", status, "stacks", stacks())
			s.flush()
		}, func() { s.exit(statusFailed) })
	case stalled >= next:
		s.aside.do(func() {
			s.log.Warn("no progress", "stalled", stalled, "status", status, "ends_after", s.limit)
			s.notify.send("STATUS=no progress for " + stalled.String() + ": " + status)
		})
		return 2 * next
	case stalled < first && next > first:
		s.aside.do(func() { s.log.Info("progress again", "status", status) })
		return first
	}
	return next
}

// maxStacks bounds what a log record has of stacks, in bytes: with what the log
// escapes it fits a line of systemd's journal (LineMax, 48 KiB).
const maxStacks = 40_000

// stacks returns the stacks of all goroutines, equal ones once with their
// number, the most frequent ones first.
func stacks() string {
	var all bytes.Buffer
	_ = pprof.Lookup("goroutine").WriteTo(&all, 1)
	all.Truncate(min(all.Len(), maxStacks))
	return all.String()
}
