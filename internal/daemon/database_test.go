// SPDX-License-Identifier: GPL-3.0-or-later

package daemon_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"winery/internal/daemon"
	"winery/sharedbase"
	"winery/test/harness/relay"
	"winery/test/logtest"
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
		p.stderr.Wait(t, "waiting for the database")
		r.Join()
		p.expect("open")
		p.signal(syscall.SIGTERM)
		p.end(0, "retry_in=")
	})
	t.Run("a wait ends by SIGINT", func(t *testing.T) {
		_, dsn := relayed(t, dsn)
		p := start(t, "database", dsn)
		p.stderr.Wait(t, "waiting for the database")
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
		start(t, "database", "postgresql://u:hunter2@h:x/db").end(78, "winery.yml:3: objstorage.database.db: ")
	})
}

// The loops of a role's parts run side by side.
func TestLoops(t *testing.T) {
	_, dsn := initialised(t)
	start(t, "parts", dsn, "--stop-instead-of-waiting").end(0)
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
	var out logtest.Log
	wake := daemon.Wake(ctx, behind, out.Logger(slog.LevelInfo), sharedbase.StateFull)

	woken := func(why string) {
		t.Helper()
		select {
		case <-wake:
		case <-time.After(30 * time.Second):
			t.Fatalf("not woken by %s; log:\n%s", why, out.String())
		}
	}
	out.Wait(t, "polling continues")
	r.Join()
	woken("the connection")
	claim, err := base.CreateShard(t.Context(), "pool")
	if err != nil {
		t.Fatal(err)
	}
	if err := claim.SetState(t.Context(), sharedbase.StateFull); err != nil {
		t.Fatal(err)
	}
	woken("a full shard")
	r.Cut()
	r.Join()
	woken("the connection, again")
	if lines := strings.Count(out.String(), "\n"); lines != 1 {
		t.Errorf("%d lines about one outage:\n%s", lines, out.String())
	}
}

// Mappings that hosts record do not wake a role that waits for full shards, and a server that ends idle sessions wakes
// no role.
func TestWakeOnlyByItsStates(t *testing.T) {
	base, dsn := initialised(t)
	pgtest.Exec(t, dsn, "INSERT INTO shards (name, state, pool_name) SELECT 'packed' || n, 'packed', 'pool' FROM generate_series(1, 200) n")
	pgtest.Exec(t, dsn, `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET idle_session_timeout = ''5s''', current_database()); END $$`)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out logtest.Log
	log := out.Logger(slog.LevelInfo)
	packer := daemon.Wake(ctx, base, log, sharedbase.StateFull)
	cleaner := daemon.Wake(ctx, base, log, sharedbase.StatePacked)
	<-packer // listens
	<-cleaner
	for n := range 200 {
		if _, err := base.RecordShardMapped(ctx, "host", "pool", fmt.Sprintf("packed%d", n+1)); err != nil {
			t.Fatal(err)
		}
	}
	<-cleaner
	pgtest.IdleSessionEnds(t, dsn) // one younger than the sessions of the roles
	select {
	case <-packer:
		t.Error("woken without a full shard")
	default:
	}
	pgtest.Exec(t, dsn+"?idle_session_timeout=0", "SELECT pg_notify('winery_shards', 'packed1 full')")
	<-packer
	if out.String() != "" {
		t.Errorf("the log has:\n%s", out.String())
	}
}

// Each reason to wait is said once, with the cure: here, tables that the role's user must not create.
func TestWaitsForTables(t *testing.T) {
	_, dsn := initialised(t)
	pgtest.Exec(t, dsn, "ALTER TABLE winery_version RENAME TO hidden")
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	name := "role_" + strings.TrimPrefix(u.Path, "/")
	pgtest.Exec(t, dsn, "CREATE ROLE "+name+" LOGIN PASSWORD '"+name+"'; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO "+name)
	t.Cleanup(func() { pgtest.Exec(t, dsn, "DROP OWNED BY "+name+"; DROP ROLE "+name) })
	u.User = url.UserPassword(name, name)
	p := start(t, "database", u.String(), "--log-level", "debug")
	p.stderr.Wait(t, `level=DEBUG msg="waiting for the database"`) // at the second try
	pgtest.Exec(t, dsn, "ALTER TABLE hidden RENAME TO winery_version")
	p.expect("open")
	p.signal(syscall.SIGTERM)
	p.end(0, "run `wineryctl db init` as a user that may create tables", "permission denied", "retry_in=", "the database answers")
	if n := strings.Count(p.stderr.String(), `level=WARN msg="waiting for the database"`); n != 1 {
		t.Errorf("said %d times:\n%s", n, p.stderr.String())
	}
}

// Settings by which acknowledged objects are lost are named.
func TestUnsafeSettings(t *testing.T) {
	_, dsn := initialised(t)
	pgtest.Exec(t, dsn, `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database()); END $$`)
	p := start(t, "database", dsn)
	p.expect("open")
	p.signal(syscall.SIGTERM)
	p.end(0, "level=WARN", "unsafe setting of PostgreSQL", "setting=synchronous_commit", "loses acknowledged objects")
}

// A role starts behind a PgBouncer that pools by transaction, and polls.
func TestRoleBehindPooler(t *testing.T) {
	_, dsn := initialised(t)
	p := start(t, "database", pgtest.Bouncer(t, dsn))
	p.expect("open")
	p.stderr.Wait(t, "a connection pooler delivers no notifications")
	p.signal(syscall.SIGTERM)
	p.end(0)
}
