// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Notifier tells the service manager how a role fares. Where there is none, and
// on a nil *Notifier, its methods do nothing. They are safe for concurrent use
// and never fail a role: what cannot be sent is logged at debug.
type Notifier struct {
	log      *slog.Logger
	ready    sync.Once
	stop     sync.Once
	interval time.Duration // least time between two watchdog pings; 0 without a watchdog
	pinged   atomic.Int64  // when the last ping went, nanoseconds since start
	start    time.Time
}

func newNotifier(log *slog.Logger) *Notifier {
	watchdog, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Debug("no watchdog", "error", err)
	}
	// The pings may come twice as often as the manager's manual asks for, so that
	// one that is late by an interval is still in time.
	interval := watchdog / 4
	return &Notifier{log: log, interval: interval, start: time.Now().Add(-interval)}
}

// Ready says that the role can work. Only the first call counts.
func (n *Notifier) Ready() {
	if n != nil {
		n.ready.Do(func() { n.send(daemon.SdNotifyReady) })
	}
}

// Status describes in a line what the role does, for whoever looks at the
// service. A datagram goes out at each call: a few a second are too many.
func (n *Notifier) Status(format string, args ...any) {
	if n != nil {
		n.send("STATUS=" + fmt.Sprintf(format, args...))
	}
}

// Progress says that the work got on, which keeps the watchdog quiet. It is
// cheap: call it as often as there is progress, and only then.
func (n *Notifier) Progress() {
	if n == nil || n.interval == 0 {
		return
	}
	now, last := int64(time.Since(n.start)), n.pinged.Load()
	if now-last >= int64(n.interval) && n.pinged.CompareAndSwap(last, now) {
		n.send(daemon.SdNotifyWatchdog)
	}
}

// Working is Progress, with a Status that describes it.
func (n *Notifier) Working(progress fmt.Stringer) {
	n.Progress()
	n.Status("%v", progress)
}

func (n *Notifier) stopping() {
	n.stop.Do(func() { n.send(daemon.SdNotifyStopping) })
}

func (n *Notifier) send(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		n.log.Debug("cannot tell the service manager", "state", state, "error", err)
	}
}
