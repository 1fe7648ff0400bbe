// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/pgtest"
)

// TestHeartbeat: a process is recorded with its first heartbeat, later ones renew the
// row, and the row goes with the process.
func TestHeartbeat(t *testing.T) {
	dsn := pgtest.New(t)
	b := open(t, dsn, sharedbase.WithHolder("packer", "1.2"), sharedbase.WithLease(40*time.Second))
	must(b.Init(t.Context()))(t)
	expect.NoError(t, b.Heartbeat(t.Context(), "starting", false))
	first := must(b.Processes(t.Context()))(t)
	if len(first) != 1 {
		t.Fatalf("processes %+v", first)
	}
	p := first[0]
	if p.Role != "packer" || p.Version != "1.2" || p.Lease != 40*time.Second || p.Host == "" || p.PID == 0 || len(p.Boot) != 36 || p.Status != "starting" || p.Failing || !p.Running() {
		t.Errorf("recorded %+v", p)
	}

	expect.NoError(t, b.Heartbeat(t.Context(), "broken \x00\xff"+strings.Repeat("é", 2000), true))
	second := must(b.Processes(t.Context()))(t)
	if len(second) != 1 || !second[0].Started.Equal(p.Started) || !second[0].LastSeen.After(p.LastSeen) || !second[0].Failing || !strings.HasPrefix(second[0].Status, "broken \ufffdé") {
		t.Errorf("after the second heartbeat: %+v", second)
	}

	exec(t, connect(t, dsn), "UPDATE winery_process SET last_seen = last_seen - interval '61 s'")
	if late := must(b.Processes(t.Context()))(t)[0]; late.Running() || late.Unseen < time.Minute || late.Unseen > 2*time.Minute {
		t.Errorf("not seen for a minute: %+v", late)
	}
	expect.NoError(t, b.EndHeartbeats(t.Context()))
	if left := must(b.Processes(t.Context()))(t); len(left) != 0 {
		t.Errorf("left behind: %+v", left)
	}
}

// TestHeartbeatRemovesTheDead: a heartbeat removes processes that were not seen for a
// day, and predecessors of its own process, but no other process that died lately.
func TestHeartbeatRemovesTheDead(t *testing.T) {
	dsn := pgtest.New(t)
	b := open(t, dsn, sharedbase.WithHolder("packer", "1.2"))
	must(b.Init(t.Context()))(t)
	expect.NoError(t, b.Heartbeat(t.Context(), "working", false))
	host := must(b.Processes(t.Context()))(t)[0].Host
	conn := connect(t, dsn)
	for status, row := range map[string]struct{ role, host, seen string }{
		"lost a day ago":       {"mapper", "other", "25 hours"},
		"lost today":           {"mapper", "other", "23 hours"},
		"predecessor":          {"packer", host, "5 minutes"},
		"predecessor, just so": {"packer", host, "50 s"},
		"other role":           {"cleaner", host, "5 minutes"},
		"other host":           {"packer", "other", "5 minutes"},
	} {
		exec(t, conn, `INSERT INTO winery_process (id, role, host, pid, version, lease, started, last_seen, status, failing)
			VALUES (gen_random_uuid(), $1, $2, 1, '', '1 min', now() - interval '2 days', now() - $3::text::interval, $4, false)`, row.role, row.host, row.seen, status)
	}
	expect.NoError(t, b.Heartbeat(t.Context(), "working", false))
	var left []string
	for _, p := range must(b.Processes(t.Context()))(t) {
		left = append(left, p.Status)
	}
	slices.Sort(left)
	if want := []string{"lost today", "other host", "other role", "predecessor, just so", "working"}; !slices.Equal(left, want) {
		t.Errorf("left are %q, want %q", left, want)
	}

	// A process of the same role that was seen after this process started is no predecessor.
	exec(t, conn, "UPDATE winery_process SET started = now() - interval '1 hour' WHERE status = 'working'")
	exec(t, conn, "UPDATE winery_process SET last_seen = now() - interval '5 minutes' WHERE status = 'predecessor, just so'")
	expect.NoError(t, b.Heartbeat(t.Context(), "working", false))
	if n := count(t, conn, "SELECT count(*) FROM winery_process WHERE status = 'predecessor, just so'"); n != 1 {
		t.Error("a heartbeat removed a process that died beside it")
	}
}

// TestHeartbeatDoesNotWait: a locked table fails the heartbeat soon, and other work on
// the same kind of connections continues.
func TestHeartbeatDoesNotWait(t *testing.T) {
	dsn := pgtest.New(t)
	b := open(t, dsn, sharedbase.WithConnections(sharedbase.MinConnections))
	must(b.Init(t.Context()))(t)
	release := pgtest.Hold(t, dsn, "LOCK TABLE winery_process")
	began := time.Now()
	heartbeat := background(func() error { return b.Heartbeat(t.Context(), "working", false) })
	must(b.LockWritingShard(t.Context(), "pool"))(t)
	if err := <-heartbeat; err == nil || time.Since(began) > 8*time.Second {
		t.Errorf("heartbeat on a locked table: %v, after %v", err, time.Since(began))
	}
	release()
	expect.NoError(t, b.Heartbeat(t.Context(), "working", false))
}

// TestHeartbeatDuringStandbyOutage: a heartbeat does not wait for the standby, as other
// commits do.
func TestHeartbeatDuringStandbyOutage(t *testing.T) {
	r := newReplicated(t)
	r.standby.Signal(syscall.SIGSTOP)
	locking := background(func() error { _, err := r.base.LockWritingShard(t.Context(), "pool"); return err })
	r.waits(t, 1)
	expect.NoError(t, r.base.Heartbeat(t.Context(), "working", false))
	expect.NoError(t, r.base.EndHeartbeats(t.Context()))
	r.waits(t, 1) // only the other one
	r.standby.Signal(syscall.SIGCONT)
	expect.NoError(t, <-locking)
}

// TestHeartbeatWithoutRights: a database user without rights on the table gets an
// error that names the table.
func TestHeartbeatWithoutRights(t *testing.T) {
	dsn := pgtest.New(t)
	must(open(t, dsn).Init(t.Context()))(t)
	b := open(t, stranger(t, dsn, "SELECT ON ALL TABLES IN SCHEMA public"))
	if err := b.Heartbeat(t.Context(), "working", false); err == nil || !strings.Contains(err.Error(), "permission denied for table winery_process") {
		t.Errorf("heartbeat without the right: %v", err)
	}
}
