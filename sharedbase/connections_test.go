// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/pgtest"
)

// Any number of deletes that wait for a locked row do not use the connections of
// lookups, adds, lists and leases.
func TestDeletesLeaveOthersTheirConnections(t *testing.T) {
	dsn := pgtest.New(t)
	b := open(t, dsn, sharedbase.WithLease(16*time.Second))
	must(b.Init(t.Context()))(t)
	conn, watcher := connect(t, dsn), connect(t, dsn)
	c := must(b.LockWritingShard(t.Context(), "pool"))(t)
	must(b.Add(t.Context(), c, objects("held", "other")))(t)
	exec(t, conn, "BEGIN")
	exec(t, conn, "SELECT FROM signature2shard WHERE signature = $1 FOR UPDATE", ids(object("held"))[0][:])

	ctx, cancel := context.WithCancel(t.Context())
	var deleting sync.WaitGroup
	defer deleting.Wait()
	defer cancel()
	for range 64 {
		deleting.Go(func() {
			for ctx.Err() == nil {
				if err := b.Delete(ctx, object("held").ID); err == nil {
					t.Error("deleted an object whose row another transaction holds")
				}
			}
		})
	}
	expect.Eventually(t, "a delete to wait", func() bool { return len(waiting(t, watcher)) > 0 })
	const renewed = "SELECT count(*) FROM winery_lease WHERE expires > $1::timestamptz + interval '20 seconds'"
	var began time.Time
	if err := watcher.QueryRow(t.Context(), "SELECT now()").Scan(&began); err != nil {
		t.Fatal(err)
	}
	slowest := time.Duration(0)
	for i := 0; count(t, watcher, renewed, began) == 0; i++ {
		asked := time.Now()
		present(t, b, c.Name(), object("other"))
		must(b.Add(t.Context(), c, objects(fmt.Sprint(i))))(t)
		must(b.ListObjects(t.Context(), sharedbase.ObjID{}, 1))(t)
		slowest = max(slowest, time.Since(asked))
		if c.Lost() || time.Since(asked) > 10*time.Second {
			t.Fatalf("lease lost: %v; lookup, add and list took %v", c.Lost(), time.Since(asked))
		}
	}
	t.Logf("the slowest lookup, add and list took %v", slowest)
	expect.Eventually(t, "the deletes to wait still, or nothing is proved", func() bool { return len(waiting(t, watcher)) > 0 })
}

// However many ask at once, there are no more connections than allowed.
func TestConnectionsAreBounded(t *testing.T) {
	dsn := pgtest.New(t)
	must(open(t, dsn).Init(t.Context()))(t)
	if _, err := sharedbase.New(dsn, "test", sharedbase.WithConnections(sharedbase.MinConnections-1)); err == nil {
		t.Error("too few are accepted")
	}
	for limit, b := range map[int]*sharedbase.SharedBase{
		sharedbase.DefaultConnections: open(t, dsn),
		12:                            open(t, dsn, sharedbase.WithConnections(12)),
		7:                             open(t, dsn+"?pool_max_conns=7", sharedbase.WithConnections(30)),
	} {
		conn := connect(t, dsn)
		c := must(b.LockWritingShard(t.Context(), "pool"))(t)
		s := shardIn(t, b, sharedbase.StatePacked, object("deleted"))
		ctx, cancel := context.WithCancel(t.Context())
		var asking sync.WaitGroup
		listening := make(chan struct{})
		asking.Go(func() { _ = b.Listen(ctx, func(string, sharedbase.ShardState) { close(listening) }) })
		<-listening
		exec(t, conn, "BEGIN")
		exec(t, conn, "LOCK TABLE shards, signature2shard IN ACCESS EXCLUSIVE MODE")
		for range 40 {
			asking.Go(func() { _, _ = b.Locate(ctx, ids(object("x"))) })
			asking.Go(func() { _, _ = b.Add(ctx, c, objects("x")) })
			asking.Go(func() { _ = b.Delete(ctx, object("deleted").ID) })
			asking.Go(func() { _, _ = b.CountObjects(ctx, s.Name) })
			asking.Go(func() { _, _ = b.RecordShardMapped(ctx, "host", s.Pool, s.Name) })
		}
		const kinds = 5
		expect.Eventually(t, "statements of every kind to wait", func() bool { return len(waiting(t, conn)) >= max(kinds, limit/2) })
		n := count(t, conn, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
			AND pid <> pg_backend_pid() AND (wait_event_type = 'Lock' OR query LIKE '/* winery: Listen */%')`)
		if n > limit {
			t.Errorf("%d connections, want at most %d", n, limit)
		}
		cancel()
		asking.Wait()
		exec(t, conn, "ROLLBACK")
		b.Close()
	}
}

// As many adds are in flight at the same time as WithAdders says, or more.
func TestAddersHaveConnections(t *testing.T) {
	dsn := pgtest.New(t)
	must(open(t, dsn).Init(t.Context()))(t)
	conn, watcher := connect(t, dsn), connect(t, dsn)
	for adders, want := range map[int]int{9: 9, 1: 6} {
		b := open(t, dsn, sharedbase.WithAdders(adders))
		b.SetLockWait(time.Minute)
		c := must(b.CreateShard(t.Context(), "pool"))(t)
		exec(t, conn, "BEGIN")
		exec(t, conn, "LOCK TABLE signature2shard IN ACCESS EXCLUSIVE MODE")
		results := make(chan error, want)
		for i := range want {
			go func() {
				_, err := b.Add(t.Context(), c, objects(fmt.Sprint(adders, i)))
				results <- err
			}()
		}
		blocked(t, watcher, want)
		exec(t, conn, "ROLLBACK")
		for range want {
			expect.NoError(t, <-results)
		}
	}
}

// Whatever the database's default is, each statement sees what was committed before it: adds that meet, and a
// transition that waits for another transaction, are no errors.
func TestIsolationIsStated(t *testing.T) {
	dsn := pgtest.New(t)
	must(open(t, dsn).Init(t.Context()))(t)
	conn, watcher := connect(t, dsn), connect(t, dsn)
	exec(t, conn, `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = ''repeatable read''', current_database()); END $$`)
	b := open(t, dsn)
	b.SetLockWait(time.Minute)
	const n = 240
	c := must(b.LockWritingShard(t.Context(), "pool"))(t)
	results := make(chan error, n)
	for i := range n {
		go func() {
			_, err := b.Add(t.Context(), c, objects(fmt.Sprint(i/4), fmt.Sprint(i/4+1)))
			results <- err
		}()
	}
	for range n {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	exec(t, conn, "BEGIN")
	exec(t, conn, "UPDATE shards SET pool_name = pool_name WHERE id = $1", c.ID())
	filled := background(func() error { return c.SetState(context.Background(), sharedbase.StateFull) })
	blocked(t, watcher, 1)
	exec(t, conn, "COMMIT")
	if err := <-filled; err != nil {
		t.Error(err)
	}
}
