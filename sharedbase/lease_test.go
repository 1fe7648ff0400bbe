// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/pgtest"
)

// expire lets all leases run out, as if their holders had not renewed them.
func expire(t testing.TB, conn *pgx.Conn) {
	t.Helper()
	exec(t, conn, "UPDATE winery_lease SET expires = clock_timestamp() - interval '1 second'")
}

func reclaimed(t testing.TB, b *sharedbase.SharedBase) []sharedbase.Reclaimed {
	t.Helper()
	return must(b.ReclaimExpired(t.Context()))(t)
}

// held is false once the claim's lease is lost.
func held(c *sharedbase.Claim) func() bool { return func() bool { return !c.Lost() } }

func lost(c *sharedbase.Claim) func() bool { return c.Lost }

// Every locked state goes back to where it came from, once, and the holder can
// do nothing any more.
func TestReclaim(t *testing.T) {
	b, conn := newBase(t)
	for from, to := range map[sharedbase.ShardState]sharedbase.ShardState{
		sharedbase.StateStandby: sharedbase.StateWriting,
		sharedbase.StateFull:    sharedbase.StatePacking,
		sharedbase.StatePacked:  sharedbase.StateCleaning,
	} {
		t.Run(string(to), func(t *testing.T) {
			s := shardIn(t, b, from, object("content of "+string(to)))
			c := claim(t, b, s, to)
			if back := reclaimed(t, b); len(back) != 0 {
				t.Fatalf("reclaimed before its time: %+v", back)
			}
			expire(t, conn)
			back := reclaimed(t, b)
			if len(back) != 1 || back[0].Shard.Name != s.Name || back[0].Was != to || back[0].Shard.State != from ||
				back[0].Lease.PID != os.Getpid() || back[0].Lease.Role != "winery test" {
				t.Fatalf("reclaimed %+v", back)
			}
			if now := must(b.ShardByName(t.Context(), s.Name))(t); now.State != from || !now.LockedAt.IsZero() {
				t.Errorf("the shard is %+v", now)
			}
			if back := reclaimed(t, b); len(back) != 0 {
				t.Errorf("reclaimed again: %+v", back)
			}
			wrong := new(sharedbase.StateError)
			if err := c.Verify(t.Context()); !errors.As(err, &wrong) {
				t.Errorf("Verify: %v", err)
			}
			if err := c.Release(t.Context()); err != nil {
				t.Errorf("Release of a shard that is back already: %v", err)
			}
		})
	}
}

// A lock without a lease is a process of Python's: it is left alone.
func TestReclaimLeavesPython(t *testing.T) {
	b, conn := newBase(t)
	s := shardIn(t, b, sharedbase.StateStandby)
	exec(t, conn, "UPDATE shards SET state = 'writing', locker = gen_random_uuid(), locker_ts = now() - interval '3 days'")
	if back := reclaimed(t, b); len(back) != 0 {
		t.Errorf("reclaimed %+v", back)
	}
	// Neither does the lease of an earlier holder count for it.
	exec(t, conn, `INSERT INTO winery_lease VALUES ($1, gen_random_uuid(), 'r', 'h', 1, 'v', now() - interval '1 hour')`, s.ID)
	if back := reclaimed(t, b); len(back) != 0 {
		t.Errorf("reclaimed by an old lease: %+v", back)
	}
	if n := len(must(b.Leases(t.Context()))(t)); n != 0 {
		t.Errorf("%d leases are listed", n)
	}
}

// Of many that reclaim at the same moment one does.
func TestReclaimAtOnce(t *testing.T) {
	b, conn := newBase(t)
	claim(t, b, shardIn(t, b, sharedbase.StateFull), sharedbase.StatePacking)
	expire(t, conn)
	const n = 8
	results := make(chan int, n)
	for range n {
		go func() {
			back, err := b.ReclaimExpired(context.Background())
			if err != nil {
				t.Error(err)
			}
			results <- len(back)
		}()
	}
	total := 0
	for range n {
		total += <-results
	}
	if total != 1 {
		t.Errorf("reclaimed %d times", total)
	}
}

// shortLease is a base whose claims hold for 12 s, and a plain connection. Renewals
// are 3 s apart, and a busy machine may delay one. The test runs beside others.
func shortLease(t *testing.T) (*sharedbase.SharedBase, *pgx.Conn) {
	t.Helper()
	return leaseOf(t, 12*time.Second)
}

func leaseOf(t *testing.T, lease time.Duration) (*sharedbase.SharedBase, *pgx.Conn) {
	t.Helper()
	t.Parallel()
	dsn := pgtest.New(t)
	b := open(t, dsn, sharedbase.WithLease(lease))
	must(b.Init(t.Context()))(t)
	return b, connect(t, dsn)
}

// A lease is renewed repeatedly, with locker_ts, while its holder lives.
func TestRenewals(t *testing.T) {
	b, conn := shortLease(t)
	c := claim(t, b, shardIn(t, b, sharedbase.StateFull), sharedbase.StatePacking)
	const renewed = `SELECT count(*) FROM winery_lease l JOIN shards s ON s.id = l.shard
		WHERE l.expires > $1::timestamptz + interval '15 seconds' AND s.locker_ts > $1::timestamptz + interval '2 seconds'`
	var began time.Time
	if err := conn.QueryRow(t.Context(), "SELECT now()").Scan(&began); err != nil {
		t.Fatal(err)
	}
	expect.Eventually(t, "the lease to be renewed", func() bool { return count(t, conn, renewed, began) == 1 })
	if !held(c)() {
		t.Error("the holder's context ended with a lost lease")
	}
	if err := c.Verify(t.Context()); err != nil {
		t.Error(err)
	}
}

// A holder that cannot renew stops before its lease ends, by its own clock.
func TestHolderGivesUp(t *testing.T) {
	b, conn := leaseOf(t, 30*time.Second) // it stops 5 s before the end: the process may stand still for as long
	c := claim(t, b, shardIn(t, b, sharedbase.StateFull), sharedbase.StatePacking)
	working, stop := c.Context(t.Context())
	defer stop()
	lock := must(conn.Begin(t.Context()))(t)
	must(lock.Exec(t.Context(), "LOCK TABLE winery_lease IN EXCLUSIVE MODE"))(t) // renewals wait, readers do not
	<-working.Done()
	ended := time.Now()
	if cause := context.Cause(working); !errors.Is(cause, sharedbase.ErrLeaseLost) {
		t.Errorf("the work's context ended by %v", cause)
	}
	alive := must(b.Leases(t.Context()))(t)
	for _, l := range alive {
		if late := ended.Sub(l.Expires); late > 0 {
			t.Errorf("the holder's context ended %v after its lease had expired", late)
		}
	}
	if err := lock.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Given up is given up: it is not renewed any more, and can be reclaimed.
	expect.Eventually(t, "the shard to be reclaimed", func() bool { return len(reclaimed(t, b)) == 1 })
}

// A lease that ran out is not renewed, even if the shard is still there.
func TestExpiredIsNotRenewed(t *testing.T) {
	b, conn := shortLease(t)
	c := claim(t, b, shardIn(t, b, sharedbase.StateFull), sharedbase.StatePacking)
	expire(t, conn)
	if err := c.Verify(t.Context()); !errors.Is(err, sharedbase.ErrLeaseLost) {
		t.Errorf("Verify: %v", err)
	}
	expect.Eventually(t, "the lease to be lost", lost(c))
	if n := len(reclaimed(t, b)); n != 1 {
		t.Errorf("reclaimed %d shards", n)
	}
}

// A claim whose release failed is not renewed any more, so that its shard is
// reclaimed; and the release can be retried.
func TestFailedReleaseIsNotRenewed(t *testing.T) {
	b, conn := shortLease(t)
	retried := claim(t, b, shardIn(t, b, sharedbase.StateFull), sharedbase.StatePacking)
	abandoned := claim(t, b, shardIn(t, b, sharedbase.StateFull), sharedbase.StatePacking)
	exec(t, conn, "ALTER TABLE winery_total RENAME TO hidden")
	for _, c := range []*sharedbase.Claim{retried, abandoned} {
		if err := c.Release(t.Context()); err == nil {
			t.Fatal("a shard was released without winery_total")
		}
	}
	exec(t, conn, "ALTER TABLE hidden RENAME TO winery_total")
	if err := retried.Release(t.Context()); err != nil || retried.State() != sharedbase.StateFull {
		t.Errorf("the second release: state %s, error %v", retried.State(), err)
	}
	expect.Eventually(t, "the other shard to be reclaimed", func() bool {
		back := reclaimed(t, b)
		return len(back) == 1 && back[0].Shard.Name == abandoned.Name()
	})
}

// The holder of a shard notices that another process has taken it.
func TestClaimLost(t *testing.T) {
	b, conn := shortLease(t)
	operator := claim(t, b, shardIn(t, b, sharedbase.StateFull), sharedbase.StatePacking)
	if err := b.ReleaseShard(t.Context(), must(b.ShardByName(t.Context(), operator.Name()))(t)); err != nil {
		t.Fatal(err)
	}
	expect.Eventually(t, "the operator to lose the lease", lost(operator))
	python := claim(t, b, shardIn(t, b, sharedbase.StatePacked), sharedbase.StateCleaning)
	exec(t, conn, "UPDATE shards SET state = 'packed', locker = NULL WHERE name = $1", python.Name())
	expect.Eventually(t, "Python to lose the lease", lost(python))
}

// The error of work that was ended by the loss of its lease says so.
func TestWithOneShardLosesItsLease(t *testing.T) {
	b, conn := shortLease(t)
	shardIn(t, b, sharedbase.StateFull)
	worked, err := b.WithOneShard(t.Context(), sharedbase.StateFull, sharedbase.StatePacking, sharedbase.ClaimFilter{},
		func(ctx context.Context, _ *sharedbase.Claim) error {
			expire(t, conn)
			<-ctx.Done()
			return ctx.Err()
		})
	if !worked || !errors.Is(err, sharedbase.ErrLeaseLost) {
		t.Errorf("worked %v, error %v", worked, err)
	}
}

// A claim that is used up leaves no lease behind, and its end disturbs no other
// claim.
func TestLeaseEndsWithTheClaim(t *testing.T) {
	b, conn := newBase(t)
	c := claim(t, b, shardIn(t, b, sharedbase.StateFull), sharedbase.StatePacking)
	image := sharedbase.ImageRecord{Objects: 3, Bytes: 1 << 40, Fingerprint: [32]byte{1, 2, 3}}
	if err := c.Packed(t.Context(), image); err != nil {
		t.Fatal(err)
	}
	if n := count(t, conn, "SELECT count(*) FROM winery_lease"); n != 0 {
		t.Errorf("%d leases are left", n)
	}
	if c.Lost() {
		t.Error("a claim that was used up counts as lost")
	}
	got, found, err := b.ImageRecord(t.Context(), c.ID())
	if err != nil || !found || got != image {
		t.Errorf("the image's record is %+v, %v, %v", got, found, err)
	}
	if _, found, err := b.ImageRecord(t.Context(), 0); err != nil || found {
		t.Errorf("record of no shard: %v, %v", found, err)
	}
}

// A shard is not reclaimed during a long write of its holder.
func TestReclaimWaitsForAnAdd(t *testing.T) {
	b, conn := newBase(t)
	c := must(b.CreateShard(t.Context(), "pool"))(t)
	tx := must(conn.Begin(t.Context()))(t)
	must(tx.Exec(t.Context(), "SELECT FROM shards WHERE name = $1 FOR SHARE", c.Name()))(t) // as Add does
	must(tx.Exec(t.Context(), "SAVEPOINT s"))(t)
	other := open(t, conn.Config().ConnString())
	watcher := connect(t, conn.Config().ConnString())
	expire(t, watcher)
	result := background(func() int { back, _ := other.ReclaimExpired(context.Background()); return len(back) })
	blocked(t, watcher, 1)
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := <-result; n != 1 {
		t.Errorf("reclaimed %d shards", n)
	}
}
