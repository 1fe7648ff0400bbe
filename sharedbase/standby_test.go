// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/pgtest"
)

// replicated has a server whose commits wait for a standby.
type replicated struct {
	primary, standby *pgtest.Server
	base             *sharedbase.SharedBase
	conn             *pgx.Conn // to the primary
}

func newReplicated(t *testing.T) *replicated {
	t.Helper()
	t.Parallel()
	r := &replicated{primary: pgtest.Start(t)}
	r.base, r.conn = open(t, r.primary.DSN), connect(t, r.primary.DSN)
	must(r.base.Init(t.Context()))(t)
	r.standby = r.primary.Synchronous()
	return r
}

// waits blocks until n commits wait for the standby.
func (r *replicated) waits(t testing.TB, n int) {
	t.Helper()
	expect.Eventually(t, "commits to wait for the standby", func() bool {
		return count(t, r.conn, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") == n
	})
}

// has reports whether the standby has received all that was logged up to lsn.
func (r *replicated) has(t testing.TB, lsn string) bool {
	t.Helper()
	return count(t, r.conn, "SELECT count(*) FROM pg_stat_replication WHERE flush_lsn >= $1::text::pg_lsn", lsn) == 1
}

func (r *replicated) logged(t testing.TB) (lsn string) {
	t.Helper()
	if err := r.conn.QueryRow(t.Context(), "SELECT pg_current_wal_insert_lsn()::text").Scan(&lsn); err != nil {
		t.Fatal(err)
	}
	return lsn
}

// The retry hole: a commit whose wait for the standby is cancelled takes effect
// on the primary. A retry that finds the row and has nothing to write succeeds at
// once, although the standby does not have the row.
func TestFactCancelledCommitStays(t *testing.T) {
	r := newReplicated(t)
	insert := "INSERT INTO winery_quarantine VALUES (1, '', '', '') ON CONFLICT DO NOTHING"
	writer := connect(t, r.primary.DSN)
	r.standby.Signal(syscall.SIGSTOP)
	inserting := background(func() error { _, err := writer.Exec(context.Background(), insert); return err })
	r.waits(t, 1)
	exec(t, r.conn, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
	if err := <-inserting; err != nil { // only a warning, which this client ignores
		t.Errorf("the cancelled commit: %v", err)
	}
	lsn := r.logged(t)
	exec(t, writer, insert)
	if r.has(t, lsn) {
		t.Error("the standby has what it could not receive")
	}
	r.standby.Signal(syscall.SIGCONT)
	expect.Eventually(t, "the standby to have the log", func() bool { return r.has(t, lsn) })
}

// Add does not fall into that hole: added again, objects are acknowledged only
// once the standby has them.
func TestAddAgainWaitsForTheStandby(t *testing.T) {
	r := newReplicated(t)
	c := must(r.base.LockWritingShard(t.Context(), "pool"))(t)
	objects := objects("a", "b")
	add := func(ctx context.Context) <-chan error {
		return background(func() error { _, err := r.base.Add(ctx, c, objects); return err })
	}
	r.standby.Signal(syscall.SIGSTOP)
	ctx, cancel := context.WithCancel(t.Context())
	first := add(ctx)
	r.waits(t, 1)
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Fatalf("the first try: %v", err)
	}
	// The server hears of it and gives the wait up: the objects are there now.
	r.waits(t, 0)
	expect.Eventually(t, "the commit to be seen", func() bool { return count(t, r.conn, "SELECT count(*) FROM signature2shard") == 2 })
	for _, o := range objects {
		present(t, r.base, c.Name(), o)
	}
	lsn := r.logged(t)
	again := add(t.Context())
	r.waits(t, 1)
	select {
	case err := <-again:
		t.Fatalf("acknowledged before the standby had it: %v", err)
	default:
	}
	r.standby.Signal(syscall.SIGCONT)
	if err := <-again; err != nil {
		t.Fatal(err)
	}
	if !r.has(t, lsn) {
		t.Error("acknowledged, but the standby has nothing")
	}

	// And so it is in force after a failover, on connections that were made to
	// a standby, and refused until then.
	other := open(t, r.standby.DSN)
	_, err := other.Add(t.Context(), c, objects)
	if code(err) != "25006" || !errors.Is(err, sharedbase.ErrUnavailable) {
		t.Errorf("on the standby: %v", err)
	}
	r.primary.Ctl("stop", "-m", "immediate")
	r.standby.Ctl("promote")
	for _, o := range objects {
		present(t, other, c.Name(), o)
	}
	must(other.LockWritingShard(t.Context(), "pool"))(t)
}

// A deletion does not fall into it either: that the object is gone is answered,
// and what is gone is erased, only once the standby knows.
func TestDeleteAgainWaitsForTheStandby(t *testing.T) {
	r := newReplicated(t)
	c := must(r.base.LockWritingShard(t.Context(), "pool"))(t)
	must(r.base.Add(t.Context(), c, objects("a")))(t)
	r.standby.Signal(syscall.SIGSTOP)
	ctx, cancel := context.WithCancel(t.Context())
	first := background(func() error { return r.base.Delete(ctx, object("a").ID) })
	r.waits(t, 1)
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Fatalf("the first try: %v", err)
	}
	r.waits(t, 0)
	lsn := r.logged(t)
	again := background(func() error { return r.base.Delete(t.Context(), object("a").ID) })
	settled := background(func() error { return r.base.WaitDurable(t.Context()) })
	r.waits(t, 2)
	r.standby.Signal(syscall.SIGCONT)
	if err := <-again; !errors.Is(err, sharedbase.ErrNotFound) {
		t.Errorf("the second try: %v", err)
	}
	if err := <-settled; err != nil {
		t.Error(err)
	}
	if !r.has(t, lsn) {
		t.Error("answered, but the standby has nothing")
	}
}

// A standby refuses every write, also a lock, with its own code; a connection
// that wants a primary checks this only when it is made.
func TestFactStandbyRefuses(t *testing.T) {
	r := newReplicated(t)
	standby := connect(t, r.standby.DSN)
	for _, write := range []string{"CREATE TABLE t ()", "SELECT FROM shards FOR SHARE", "UPDATE shards SET state = 'full'"} {
		if _, err := standby.Exec(t.Context(), write); code(err) != "25006" { // read_only_sql_transaction
			t.Errorf("%s: %v", write, err)
		}
	}
	conn := connect(t, r.standby.Or(r.primary))
	exec(t, conn, "CREATE TABLE t ()")
	exec(t, r.conn, "ALTER SYSTEM SET default_transaction_read_only = on")
	exec(t, r.conn, "SELECT pg_reload_conf()")
	expect.Eventually(t, "the database to be read-only", func() bool {
		_, err := conn.Exec(t.Context(), "INSERT INTO t DEFAULT VALUES")
		return code(err) == "25006"
	})
}

// Renewals do not wait for the standby: long work outlasts an outage of it.
func TestStandbyOutageKeepsLeases(t *testing.T) {
	r := newReplicated(t)
	b := open(t, r.primary.DSN, sharedbase.WithLease(12*time.Second))
	c := must(b.LockWritingShard(t.Context(), "pool"))(t)
	r.standby.Signal(syscall.SIGSTOP)
	adding := background(func() error { _, err := b.Add(t.Context(), c, objects("waits")); return err })
	r.waits(t, 1)
	var began time.Time
	if err := r.conn.QueryRow(t.Context(), "SELECT now()").Scan(&began); err != nil {
		t.Fatal(err)
	}
	expect.Eventually(t, "the lease to be renewed", func() bool {
		return c.Lost() || count(t, r.conn, "SELECT count(*) FROM winery_lease WHERE expires > $1::timestamptz + interval '24 seconds'", began) == 1
	})
	if c.Lost() {
		t.Error("the lease is lost")
	}
	r.waits(t, 1) // the renewals do not
	r.standby.Signal(syscall.SIGCONT)
	if err := <-adding; err != nil {
		t.Error(err)
	}
}

// A transition that waits for the standby has locked the row of its lease: the process's
// other leases are renewed nevertheless, and its own claim is not lost.
func TestWaitingTransitionKeepsLeases(t *testing.T) {
	r := newReplicated(t)
	b := open(t, r.primary.DSN, sharedbase.WithLease(12*time.Second))
	c := must(b.CreateShard(t.Context(), "pool"))(t)
	image := must(b.ClaimImage(t.Context(), shardIn(t, r.base, sharedbase.StateReadOnly).Name))(t)
	moved := must(b.CreateShard(t.Context(), "pool"))(t)
	r.standby.Signal(syscall.SIGSTOP)
	moving := background(func() error { return moved.SetState(t.Context(), sharedbase.StateFull) })
	r.waits(t, 1)
	var began time.Time
	if err := r.conn.QueryRow(t.Context(), "SELECT now()").Scan(&began); err != nil {
		t.Fatal(err)
	}
	expect.Eventually(t, "the leases to be renewed", func() bool {
		return c.Lost() || image.Lost() || count(t, r.conn, `SELECT count(*)
			FROM (SELECT shard, expires FROM winery_lease UNION ALL SELECT shard, expires FROM winery_image_lease) l
			WHERE shard = ANY ($2) AND expires > $1::timestamptz + interval '24 seconds'`, began, []int64{c.ID(), image.ID()}) == 2
	})
	if c.Lost() || image.Lost() || moved.Lost() {
		t.Errorf("lost: the shard's lease %v, the image's %v, that of the shard that is moved %v", c.Lost(), image.Lost(), moved.Lost())
	}
	r.waits(t, 1)
	r.standby.Signal(syscall.SIGCONT)
	if err := <-moving; err != nil {
		t.Error(err)
	}
}

// That a shard was moved already is answered only once the standby knows: the caller removes the image it was moved from.
func TestMoveAgainWaitsForTheStandby(t *testing.T) {
	r := newReplicated(t)
	c := must(r.base.ClaimImage(t.Context(), shardIn(t, r.base, sharedbase.StateReadOnly).Name))(t)
	move := func() error { return c.MoveShard(t.Context(), "other", nil) }
	r.standby.Signal(syscall.SIGSTOP)
	first := background(move)
	r.waits(t, 1)
	exec(t, r.conn, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
	if err := <-first; !errors.Is(err, sharedbase.ErrUnavailable) {
		t.Fatalf("the first try: %v", err)
	}
	lsn := r.logged(t)
	again := background(move)
	r.waits(t, 1)
	r.standby.Signal(syscall.SIGCONT)
	if err := <-again; err != nil {
		t.Errorf("the second try: %v", err)
	}
	if !r.has(t, lsn) {
		t.Error("answered, but the standby has nothing")
	}
}

// A release whose commit is not answered is given up after ten seconds, whenever its context ended: the time that a
// shutdown takes has this limit in it.
func TestReleaseIsGivenUp(t *testing.T) {
	r := newReplicated(t)
	c := must(r.base.CreateShard(t.Context(), "pool"))(t)
	r.standby.Signal(syscall.SIGSTOP)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	began := time.Now()
	if err := c.Release(ended); err == nil {
		t.Error("released, although the standby does not know")
	}
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("given up after %v", took)
	}
	r.standby.Signal(syscall.SIGCONT)
	r.waits(t, 0)
}

// A commit that is given up, because the standby does not answer in time, is ErrUnavailable: its caller has cancelled
// nothing.
func TestCommitIsGivenUp(t *testing.T) {
	r := newReplicated(t)
	o := object("a")
	shardIn(t, r.base, sharedbase.StateStandby, o)
	b := open(t, r.primary.DSN)
	c := must(b.CreateShard(t.Context(), "pool"))(t)
	expect.NoError(t, b.WaitDurable(t.Context())) // Delete has its connection now
	b.SetShortTimeout(10 * time.Second)
	r.standby.Signal(syscall.SIGSTOP)
	moving := background(func() error { return c.SetState(t.Context(), sharedbase.StateFull) })
	deleting := background(func() error { return b.Delete(t.Context(), o.ID) })
	r.waits(t, 2)
	for what, err := range map[string]error{"SetState": <-moving, "Delete": <-deleting} {
		if !errors.Is(err, sharedbase.ErrUnavailable) || errors.Is(err, context.Canceled) {
			t.Errorf("%s: error %v, want ErrUnavailable", what, err)
		}
	}
	r.standby.Signal(syscall.SIGCONT)
	r.waits(t, 0)
}
