// SPDX-License-Identifier: GPL-3.0-or-later

package fault

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"winery/internal/httpapi/rpc/client"
	"winery/sharedbase"
	"winery/test/harness"
	"winery/test/pgtest"
)

const terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"

// One fleet lives through everything that happens to a database server that
// comes back as it was.
func TestPostgresInTrouble(t *testing.T) {
	t.Parallel()
	pg := pgtest.Start(t)
	f, ctx := newFleet(t, pg.DSN)
	writer, err := f.StartWriter(ctx)
	if err != nil {
		t.Fatal(err)
	}
	start(t, f, harness.Packer, harness.Mapper, harness.Cleaner)
	l := startLoad(ctx, t, f)
	l.goesOn(100)

	// refuses waits until the writer has failed by an SQLSTATE once more.
	refuses := func(code string) {
		const msg = "cannot write objects, retrying"
		says(ctx, t, writer, said(t, writer, msg, code), msg, code)
	}
	set := func(sql string) { pg.Exec("ALTER SYSTEM " + sql); pg.Exec("SELECT pg_reload_conf()") }
	for _, trouble := range []struct {
		name string
		is   func()
	}{
		{"restarted fast, with few connections", func() {
			pg.Exec("ALTER SYSTEM SET max_connections = 40")
			pg.Ctl("restart", "-m", "fast")
		}},
		{"restarted immediately", func() { pg.Ctl("restart", "-m", "immediate") }},
		{"all connections are terminated", func() { pg.Exec(terminate) }},
		{"no connection is left", func() {
			giveBack := pg.TakeAll()
			refuses("53300")
			giveBack()
		}},
		{"statement_timeout", func() {
			set("SET statement_timeout = '1ms'")
			refuses("57014")
			set("RESET statement_timeout")
		}},
		{"idle_in_transaction_session_timeout", func() {
			set("SET idle_in_transaction_session_timeout = '1ms'")
			pg.Exec(terminate)
			l.collected(200)
			set("RESET idle_in_transaction_session_timeout")
		}},
	} {
		began, before := time.Now(), len(l.all)
		l.while(trouble.is)
		over := time.Now()
		l.goesOn(100)
		t.Logf("%s: for %v; 100 objects %v after, %d in all", trouble.name,
			over.Sub(began).Round(time.Millisecond), time.Since(over).Round(time.Millisecond), len(l.all)-before)
	}
	l.end()

	// A writer ends soon and cleanly even if the database is unavailable. A shard
	// that it leaves locked is reclaimed when the lease has expired.
	pg.Ctl("stop", "-m", "fast")
	asked := time.Now()
	if err := writer.Stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(asked); took > 55*time.Second { // as docs/operations.md says
		t.Errorf("a writer without a database took %v to end", took)
	} else {
		t.Logf("a writer without a database took %v to end", took.Round(time.Millisecond))
	}
	pg.Ctl("start")
	err = harness.Until(ctx, func() (bool, error) { return inState(ctx, t, f, sharedbase.StateWriting) == 0, nil })
	if err != nil {
		t.Fatalf("the writer's shard is not taken back: %v", err)
	}
	if _, err := f.StartWriter(ctx); err != nil {
		t.Fatal(err)
	}
	if err := f.WaitReadOnly(ctx); err != nil {
		t.Fatal(err)
	}
	l.there(f)
}

// The primary dies, and a standby that every commit waited for takes over.
func TestPostgresFailsOver(t *testing.T) {
	t.Parallel()
	primary := pgtest.Start(t)
	standby := primary.Synchronous()
	f, ctx := newFleet(t, primary.Or(standby))
	if _, err := f.StartWriter(ctx); err != nil {
		t.Fatal(err)
	}
	start(t, f, harness.Packer, harness.Mapper, harness.Cleaner)
	l := startLoad(ctx, t, f)
	l.goesOn(300)
	l.while(func() {
		primary.Signal(syscall.SIGKILL)
		standby.Ctl("promote")
	})
	over := time.Now()
	l.goesOn(300)
	t.Logf("300 objects %v after", time.Since(over).Round(time.Millisecond))
	l.end()
	if err := f.WaitReadOnly(ctx); err != nil {
		t.Fatal(err)
	}
	l.there(f)
}

// The disk of the objects' tables is full, and then larger.
func TestPostgresDiskFull(t *testing.T) {
	t.Parallel()
	pg := pgtest.Start(t)
	small, owner := pg.Folder("small")
	if err := unix.Mount("tmpfs", small, "tmpfs", 0, fmt.Sprintf("size=20m,mode=0700,uid=%d", owner)); err != nil {
		t.Fatalf("cannot mount a small file system (this test must be root): %v", err)
	}
	t.Cleanup(func() {
		pg.Ctl("stop", "-m", "immediate") // which has files there
		if err := unix.Unmount(small, 0); err != nil {
			t.Error(err)
		}
	})
	pg.Exec("CREATE TABLESPACE small LOCATION '" + small + "'")
	pg.Exec("CREATE DATABASE winery TABLESPACE small")
	f, ctx := newFleet(t, pg.Database("winery"))
	writer, err := f.StartWriter(ctx)
	if err != nil {
		t.Fatal(err)
	}
	l := startLoad(ctx, t, f)
	l.while(func() { says(ctx, t, writer, 0, "cannot write objects, retrying", "disk is full") })
	once, err := client.New(f.URL, client.RetryFor(0))
	if err != nil {
		t.Fatal(err)
	}
	defer once.Close()
	l.end()
	l.there(f) // reads continue

	content := random(8 << 20)
	if err := once.Add(ctx, sum(content), content); err == nil {
		t.Error("more was added than there is room for")
	} else {
		t.Logf("a client gets: %v", err)
	}
	if err := unix.Mount("tmpfs", small, "tmpfs", unix.MS_REMOUNT, "size=200m"); err != nil {
		t.Fatal(err)
	}
	more := startLoad(ctx, t, f)
	more.goesOn(300)
	more.end()
	more.there(f)
	l.there(f)
}
