// SPDX-License-Identifier: GPL-3.0-or-later

package daemon_test

import (
	"net/url"
	"strings"
	"syscall"
	"testing"

	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/pgtest"
)

// recorded returns the processes that the database has recorded.
func recorded(t *testing.T, base *sharedbase.SharedBase) []sharedbase.Process {
	t.Helper()
	all, err := base.Processes(t.Context())
	expect.NoError(t, err)
	return all
}

// TestHeartbeats: an idle role is recorded while it runs. A role that ends as asked
// leaves no record, one that failed leaves the reason, and one that was killed what it
// did last. The successor of both removes their records once they are a minute old.
func TestHeartbeats(t *testing.T) {
	base, dsn := initialised(t)
	p := start(t, "database", dsn)
	p.expect("open")
	expect.Eventually(t, "the role to be recorded", func() bool { return len(recorded(t, base)) == 1 })
	got := recorded(t, base)[0]
	if got.Role != "test" || got.PID != p.cmd.Process.Pid || !got.Running() || got.Status != "starting" && got.Status != "waiting for work" {
		t.Errorf("recorded %+v", got)
	}
	p.signal(syscall.SIGTERM)
	p.end(0)
	if left := recorded(t, base); len(left) != 0 {
		t.Errorf("the role ended, and left %+v", left)
	}

	start(t, "broken", dsn).end(1, "the database is unavailable")
	if left := recorded(t, base); len(left) != 1 || !left[0].Failing || left[0].Status != "failed: the database is unavailable" {
		t.Errorf("the role failed, and left %+v", left)
	}
	killed := start(t, "database", dsn)
	killed.expect("open")
	expect.Eventually(t, "the second role to be recorded", func() bool { return len(recorded(t, base)) == 2 })
	killed.signal(syscall.SIGKILL)
	_ = killed.cmd.Wait()

	pgtest.Exec(t, dsn, "UPDATE winery_process SET last_seen = last_seen - interval '2 minutes'")
	successor := start(t, "database", dsn)
	successor.expect("open")
	expect.Eventually(t, "only the successor to be recorded", func() bool {
		left := recorded(t, base)
		return len(left) == 1 && left[0].Running()
	})
	successor.signal(syscall.SIGTERM)
	successor.end(0)
}

// TestHeartbeatsAreNotNeeded: a role works where it must not write the table.
func TestHeartbeatsAreNotNeeded(t *testing.T) {
	_, dsn := initialised(t)
	u, err := url.Parse(dsn)
	expect.NoError(t, err)
	name := "role_" + strings.TrimPrefix(u.Path, "/")
	pgtest.Exec(t, dsn, "CREATE ROLE "+name+" LOGIN PASSWORD '"+name+"'; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO "+
		name+"; REVOKE ALL ON winery_process FROM "+name)
	t.Cleanup(func() { pgtest.Exec(t, dsn, "DROP OWNED BY "+name+"; DROP ROLE "+name) })
	u.User = url.UserPassword(name, name)
	p := start(t, "database", u.String())
	p.expect("open")
	p.stderr.Wait(t, "cannot record that this process runs; its work continues")
	p.signal(syscall.SIGTERM)
	p.end(0, "permission denied for table winery_process")
}
