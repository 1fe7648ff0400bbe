// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"winery/internal/progress"
	"winery/internal/telemetry"
)

// Notifier keeps the state of a role, for heartbeats, health and the supervisor, and
// reports it to the service manager where there is one. Its methods are safe for
// concurrent use and never fail a role: a report that cannot be sent is logged at debug.
type Notifier struct {
	log      *slog.Logger
	ready    atomic.Bool
	stopped  atomic.Bool
	interval time.Duration // least time between two watchdog pings; 0 without a watchdog
	pinged   atomic.Int64  // when the last ping went, nanoseconds since start
	start    time.Time

	moved  atomic.Int64           // when the work last made progress, nanoseconds since start; or waits
	silent atomic.Int64           // until when the work may report nothing, nanoseconds since start
	status atomic.Pointer[string] // the last one
	failed atomic.Bool            // the last attempt to work

	addsFail time.Time // since when, for Serving

	name   string    // of a part; "" for a whole role
	parent *Notifier // of a part
	mu     sync.Mutex
	parts  []*Notifier
}

// waits, in place of a time, means that the role waits for work.
const waits = math.MaxInt64

func newNotifier(log *slog.Logger) *Notifier {
	watchdog, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Debug("cannot read the watchdog interval of the service manager", "err", err)
	}
	// The pings may come twice as often as the manager's manual asks for, so that
	// one that is late by an interval is still in time.
	interval := watchdog / 4
	n := &Notifier{log: log, interval: interval, start: time.Now().Add(-interval)}
	n.moved.Store(waits)
	return n
}

// Part returns a Notifier for one of several loops of a role: each waits or stalls by
// itself. The role's status is that of all parts, by their names.
func (n *Notifier) Part(name string) *Notifier {
	p := &Notifier{log: n.log, start: n.start, name: name, parent: n}
	p.moved.Store(waits)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.parts = append(n.parts, p)
	return p
}

func (n *Notifier) allParts() []*Notifier {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.parts)
}

// Ready says that the role can work. Only the first call counts.
func (n *Notifier) Ready() {
	if !n.ready.Swap(true) {
		n.send(daemon.SdNotifyReady)
	}
}

// Status describes the current activity of the role in one line, for `systemctl
// status`. Each call sends a datagram, so do not call it several times a second.
// Several lines of an error are joined: for the service manager, a second line is
// another field.
func (n *Notifier) Status(format string, args ...any) {
	status := oneLine(fmt.Sprintf(format, args...))
	n.status.Store(&status)
	if n.parent == nil {
		n.send("STATUS=" + status)
		return
	}
	var parts []string
	for _, p := range n.parent.allParts() {
		parts = append(parts, p.name+": "+p.lastStatus())
	}
	n.parent.Status("%s", strings.Join(parts, "; "))
}

func (n *Notifier) waitsForDatabase(since time.Time, err error) {
	n.Status("waiting for the database since %s: %v", clock(since), err)
}

// Serving describes a server at address. failure is the reason why objects cannot be
// added, nil if they can. Only one goroutine may call it.
func (n *Notifier) Serving(address string, failure error) {
	n.failing(failure != nil)
	if failure == nil {
		n.addsFail = time.Time{}
		n.Status("serving on %s", address)
		return
	}
	if n.addsFail.IsZero() {
		n.addsFail = time.Now()
	}
	n.Status("adds on %s fail since %s: %v", address, clock(n.addsFail), failure)
}

// clock returns the time of day of t, with the date if that is not today, and with the
// zone, because heartbeats carry it to hosts in other zones.
func clock(t time.Time) string {
	t = t.Local()
	if t.Format(time.DateOnly) != time.Now().Format(time.DateOnly) {
		return t.Format("2006-01-02 15:04 MST")
	}
	return t.Format("15:04 MST")
}

func (n *Notifier) lastStatus() string {
	if last := n.status.Load(); last != nil {
		return *last
	}
	return "starting"
}

// failing notes whether the last attempt to work failed.
func (n *Notifier) failing(failed bool) { n.failed.Store(failed) }

// isFailing reports whether the last attempt of the role, or of one of its parts, to
// work failed.
func (n *Notifier) isFailing() bool {
	return n.failed.Load() || slices.ContainsFunc(n.allParts(), (*Notifier).isFailing)
}

// stallReported is how long a role may make no progress before its heartbeats say so.
const stallReported = time.Minute

// condition is what a heartbeat says of the role: its status, and whether its last
// attempt to work failed or its current step makes no progress.
func (n *Notifier) condition() (status string, failing bool) {
	if stalled, status := n.stalled(); stalled >= stallReported {
		return fmt.Sprintf("no progress for %v: %s", stalled, status), true
	}
	return n.lastStatus(), n.isFailing()
}

// Progress says that the work made progress, which keeps supervisor and watchdog
// quiet. It is cheap: call it as often as there is progress, and only then.
func (n *Notifier) Progress() {
	now := int64(time.Since(n.start))
	n.moved.Store(now)
	n.ping(now)
}

// ping notifies the watchdog of progress, unless it was notified shortly before.
func (n *Notifier) ping(now int64) {
	if n.parent != nil {
		n = n.parent
	}
	last := n.pinged.Load()
	if n.interval != 0 && now-last >= int64(n.interval) && n.pinged.CompareAndSwap(last, now) {
		n.send(daemon.SdNotifyWatchdog)
	}
}

// begin says that a step begins.
func (n *Notifier) begin() {
	n.silent.Store(0)
	n.Progress()
}

// waiting says that the role waits for work until the next Progress.
func (n *Notifier) waiting() {
	n.begin()
	n.moved.Store(waits)
}

// stalled is for how long the role, or the part that has stalled the longest, made no
// progress, 0 while it waits, and its last status.
func (n *Notifier) stalled() (time.Duration, string) {
	now, silent := int64(time.Since(n.start)), n.silent.Load()
	if now < silent {
		n.ping(now)
	}
	longest := time.Duration(max(0, now-max(n.moved.Load(), silent))).Truncate(time.Second)
	status := n.lastStatus()
	for _, p := range n.allParts() {
		if stalled, its := p.stalled(); stalled > longest {
			longest, status = stalled, p.name+": "+its
		}
	}
	return longest, status
}

// Working is Progress, with a Status that describes it. A task with a limit
// stalls only once that time is over. It is a [progress.Func].
func (n *Notifier) Working(task progress.Report) {
	n.begin()
	if task.Limit > 0 {
		n.silent.Store(int64(time.Since(n.start) + task.Limit))
	}
	n.Status("%v", task)
}

// oneLine joins the lines of text that are not blank.
func oneLine(text string) string {
	lines := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' })
	for i, line := range lines {
		lines[i] = strings.TrimSpace(line)
	}
	return strings.Join(slices.DeleteFunc(lines, func(line string) bool { return line == "" }), "; ")
}

func (n *Notifier) stopping() {
	if !n.stopped.Swap(true) {
		n.send(daemon.SdNotifyStopping)
	}
}

// whyNotReady returns nil while the role can work: between Ready and stopping.
func (n *Notifier) whyNotReady() error {
	switch {
	case n.stopped.Load():
		return telemetry.Reason("stopping")
	case !n.ready.Load():
		return telemetry.Reason("starting")
	}
	return nil
}

func (n *Notifier) send(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		n.log.Debug("cannot notify the service manager", "state", state, "err", err)
	}
}
