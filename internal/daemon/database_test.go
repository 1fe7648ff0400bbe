// SPDX-License-Identifier: GPL-3.0-or-later

package daemon_test

import (
	"context"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"time"

	"winery/internal/daemon"
	"winery/sharedbase"
	"winery/test/harness/relay"
	"winery/test/pgtest"
)

// relayed returns a relay that is cut, and the DSN of dsn's database behind it.
func relayed(t *testing.T, dsn string) (*relay.Relay, string) {
	t.Helper()
	r, dsn, err := relay.Database(dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	r.Cut()
	return r, dsn
}

// initialised returns a database with the schema.
func initialised(t *testing.T) (*sharedbase.SharedBase, string) {
	t.Helper()
	dsn := pgtest.New(t)
	base, err := sharedbase.New(dsn, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(base.Close)
	if _, err := base.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	return base, dsn
}

func TestOpenDatabase(t *testing.T) {
	_, dsn := initialised(t)
	t.Run("waits until it is there", func(t *testing.T) {
		r, dsn := relayed(t, dsn)
		p := start(t, "database", dsn)
		p.stderr.wait(t, "waiting for the database")
		r.Join()
		p.expect("open")
		p.signal(syscall.SIGTERM)
		p.end(0, "retry_in=")
	})
	t.Run("a wait ends by SIGINT", func(t *testing.T) {
		_, dsn := relayed(t, dsn)
		p := start(t, "database", dsn)
		p.stderr.wait(t, "waiting for the database")
		p.signal(syscall.SIGINT)
		p.end(0)
	})
	t.Run("does not wait instead of stopping", func(t *testing.T) {
		_, dsn := relayed(t, dsn)
		start(t, "database", dsn, "--stop-instead-of-waiting").end(1, "level=ERROR")
	})
	t.Run("stops when idle", func(t *testing.T) {
		p := start(t, "database", dsn, "--stop-instead-of-waiting")
		p.expect("open")
		p.end(0)
	})
	t.Run("has no schema", func(t *testing.T) {
		start(t, "database", pgtest.New(t)).end(1, "the database is not initialised: run `wineryctl db init`")
	})
	t.Run("cannot be meant", func(t *testing.T) {
		start(t, "database", "postgresql://u:hunter2@h:x/db").end(78, "winery.yml: objstorage.database.db: ")
	})
}

// Changes wake, also after the connection was lost, which is said once.
func TestWake(t *testing.T) {
	base, dsn := initialised(t)
	r, dsn := relayed(t, dsn)
	behind, err := sharedbase.New(dsn, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer behind.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &lineBuffer{added: make(chan struct{}, 1)}
	wake := daemon.Wake(ctx, behind, slog.New(slog.NewTextHandler(out, nil)))

	woken := func(why string) {
		t.Helper()
		select {
		case <-wake:
		case <-time.After(30 * time.Second):
			t.Fatalf("not woken by %s; log:\n%s", why, out.String())
		}
	}
	out.wait(t, "polling goes on")
	r.Join()
	woken("the connection")
	claim, err := base.CreateShard(t.Context(), sharedbase.StateWriting, "pool")
	if err != nil {
		t.Fatal(err)
	}
	woken("a new shard")
	if err := claim.SetState(t.Context(), sharedbase.StateFull); err != nil {
		t.Fatal(err)
	}
	woken("a full shard")
	if lines := strings.Count(out.String(), "\n"); lines != 1 {
		t.Errorf("%d lines about one outage:\n%s", lines, out.String())
	}
	r.Cut()
	r.Join()
	woken("the connection, again")
}
