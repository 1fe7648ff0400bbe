// SPDX-License-Identifier: GPL-3.0-or-later

package vm

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"winery/test/expect"
)

// failure is an end of a role without a request to stop.
type failure struct {
	name   string
	unit   string
	script string // causes it, and removes the cause
	reason string // an extended regular expression: what the journal says
}

var failures = []failure{
	{"SIGSEGV", "winery-rbd-mapper", `systemctl kill --signal SEGV --kill-who main $unit`, `SIGSEGV: segmentation violation|status=11/SEGV`},
	{"SIGABRT", "winery-cleaner", `systemctl kill --signal ABRT --kill-who main $unit`, `SIGABRT: abort|status=6/ABRT`},
	{"no more threads", "winery-cleaner", `
		systemctl set-property --runtime $unit TasksMax=4
		systemctl kill --signal KILL $unit
		said 'failed to create new OS thread|pthread_create failed|thread exhaustion|thread limit'
		systemctl set-property --runtime $unit TasksMax=2048`, `failed to create new OS thread|pthread_create failed|thread exhaustion|thread limit`},
	{"out of memory", "winery-packer@all", `
		systemctl set-property --runtime $unit MemoryMax=8M
		said "result 'oom-kill'"
		systemctl set-property --runtime $unit MemoryMax=4G`, `killed by the OOM killer`},
}

// fail causes a failure, and returns after how long systemd had the unit running
// again. It fails unless the journal has the reason.
func (m *machine) fail(t *testing.T, f failure) time.Duration {
	t.Helper()
	out := m.run(t, fmt.Sprintf(`unit=%s
		show() { systemctl show --property "$1" --value $unit; }
		since=$(date +'%%F %%T.%%N') restarts=$(show NRestarts) began=$(cut -d ' ' -f 1 /proc/uptime)
		said() { until journalctl --unit $unit --since "$since" | grep -E "$1" >/dev/null; do sleep 0.5; done; }
		%s
		until [ "$(show NRestarts)" -gt "$restarts" ] && systemctl --quiet is-active $unit; do sleep 0.5; done
		echo $(show ActiveEnterTimestampMonotonic) "$began"
		said "%s"
		journalctl --unit $unit --since "$since" --output cat | grep -E "%[3]s" | sed -n 1p`, f.unit, f.script, f.reason))
	times, reason, _ := strings.Cut(out, "\n")
	var active int64 // microseconds
	var began float64
	_, err := fmt.Sscan(times, &active, &began)
	expect.NoError(t, err)
	took := time.Duration(active)*time.Microsecond - time.Duration(began*float64(time.Second))
	t.Logf("%s of %s: runs again after %.1f s; the journal says: %s", f.name, f.unit, took.Seconds(), strings.TrimSpace(reason))
	return took
}

// recovers causes each failure. A unit must run within ten seconds, or, where the
// machine is slow, ten times what a restart takes that somebody asks for.
func (h *host) recovers(t *testing.T) {
	began := time.Now()
	h.run(t, "systemctl restart winery-cleaner")
	limit := max(10*time.Second, 10*time.Since(began))
	check := func(what string, took time.Duration) {
		if took > limit {
			t.Errorf("%s: the unit runs again after %v, want %v", what, took, limit)
		}
	}
	stopped := h.stops(t)
	h.run(t, "systemctl start winery-packer@all")
	for _, f := range failures {
		check(f.name, h.fail(t, f))
	}
	check("no sign of life", stopped())
	h.run(t, "systemctl stop winery-packer@all")
}

// stops stops the writer's process as a device that hangs would, and returns what
// waits until systemd has replaced it: for how long the unit did not run after the
// time within which systemd expects a sign of life.
func (h *host) stops(t *testing.T) (replaced func() time.Duration) {
	const watchdog = 20 * time.Second
	dropIn := "/run/systemd/system/winery-writer.service.d"
	began := h.seconds(t, fmt.Sprintf(`mkdir -p %s; printf '[Service]\nWatchdogSec=%d\n' >%[1]s/watchdog.conf; systemctl daemon-reload
		systemctl restart winery-writer; systemctl kill --signal STOP --kill-who main winery-writer; cut -d ' ' -f 1 /proc/uptime`, dropIn, int(watchdog.Seconds())))
	return func() time.Duration {
		took := h.seconds(t, fmt.Sprintf(`rm -f %s/watchdog.conf
			until [ "$(systemctl show --property NRestarts --value winery-writer)" -ge 1 ] && systemctl --quiet is-active winery-writer; do sleep 0.2; done
			echo $(systemctl show --property ActiveEnterTimestampMonotonic --value winery-writer)e-6
			until journalctl --output cat --unit winery-writer | grep "Failed with result 'watchdog'" >/dev/null; do sleep 0.2; done; systemctl daemon-reload`, dropIn)) - began - watchdog
		t.Logf("no sign of life of winery-writer: runs again %.1f s after the watchdog's limit", took.Seconds())
		return took
	}
}

// seconds returns the number of seconds that a script prints first.
func (h *host) seconds(t *testing.T, script string) time.Duration {
	t.Helper()
	first, _, _ := strings.Cut(h.run(t, script), "\n")
	seconds, err := strconv.ParseFloat(first, 64)
	expect.NoError(t, err)
	return time.Duration(seconds * float64(time.Second))
}
