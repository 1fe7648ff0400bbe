// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"winery/sharedbase"
	"winery/test/expect"
)

// Any number of claimers at once share out what there is.
func TestClaimersNeverMeet(t *testing.T) {
	b, _ := newBase(t)
	const shards, claimers = 5, 12
	for range shards {
		shardIn(t, b, sharedbase.StateFull)
	}
	var got sync.Map
	var all sync.WaitGroup
	for range claimers {
		all.Go(func() {
			c, err := b.LockOneShard(t.Context(), sharedbase.StateFull, sharedbase.StatePacking, sharedbase.ClaimFilter{})
			if err != nil {
				t.Error(err)
			} else if c != nil {
				if _, twice := got.LoadOrStore(c.Name(), true); twice {
					t.Errorf("shard %s was given twice", c.Name())
				}
			}
		})
	}
	all.Wait()
	// A caller may have found no shard while the rows of other callers were
	// locked.
	for c := must(b.LockOneShard(t.Context(), sharedbase.StateFull, sharedbase.StatePacking, sharedbase.ClaimFilter{}))(t); c != nil; {
		got.Store(c.Name(), true)
		c = must(b.LockOneShard(t.Context(), sharedbase.StateFull, sharedbase.StatePacking, sharedbase.ClaimFilter{}))(t)
	}
	n := 0
	got.Range(func(any, any) bool { n++; return true })
	if n != shards {
		t.Errorf("%d shards were claimed, want %d", n, shards)
	}
}

func TestClaimPassesOverALockedRow(t *testing.T) {
	b, conn := newBase(t)
	first, second := shardIn(t, b, sharedbase.StateFull), shardIn(t, b, sharedbase.StateFull)
	exec(t, conn, "BEGIN")
	exec(t, conn, "SELECT FROM shards WHERE id = $1 FOR UPDATE", first.ID) // as Python does
	c := must(b.LockOneShard(t.Context(), sharedbase.StateFull, sharedbase.StatePacking, sharedbase.ClaimFilter{}))(t)
	if c == nil || c.ID() != second.ID {
		t.Errorf("claimed %+v, want shard %d", c, second.ID)
	}
}

// An add in flight to a shard does not hide the shard.
func TestClaimIsNotHiddenByInserts(t *testing.T) {
	b, conn := newBase(t)
	s := shardIn(t, b, sharedbase.StateFull)
	exec(t, conn, "BEGIN")
	exec(t, conn, "INSERT INTO signature2shard VALUES ('id', 'present', $1)", s.ID)
	claim(t, b, s, sharedbase.StatePacking)
}

func TestClaimFilter(t *testing.T) {
	b, _ := newBase(t)
	s := shardIn(t, b, sharedbase.StateFull)
	for name, c := range map[string]struct {
		filter sharedbase.ClaimFilter
		want   bool
	}{
		"pool":          {sharedbase.ClaimFilter{Pools: []string{"pool", "another"}}, true},
		"another pool":  {sharedbase.ClaimFilter{Pools: []string{"other"}}, false},
		"name":          {sharedbase.ClaimFilter{Name: s.Name}, true},
		"another name":  {sharedbase.ClaimFilter{Name: "other"}, false},
		"hosts":         {sharedbase.ClaimFilter{MinMappedHosts: 1}, false},
		"not even host": {sharedbase.ClaimFilter{MinMappedHosts: 0}, true},
	} {
		t.Run(name, func(t *testing.T) {
			worked, err := b.WithOneShard(t.Context(), sharedbase.StateFull, sharedbase.StatePacking, c.filter,
				func(context.Context, *sharedbase.Claim) error { return nil })
			if worked != c.want || err != nil {
				t.Errorf("worked: %v, %v", worked, err)
			}
		})
	}
}

// The shard does not stay locked, however the work ends.
func TestWithOneShard(t *testing.T) {
	b, _ := newBase(t)
	s := shardIn(t, b, sharedbase.StateFull)
	failure := errors.New("no space")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, c := range []struct {
		name string
		work func(ctx context.Context, c *sharedbase.Claim) error
		err  error
		end  sharedbase.ShardState
	}{
		{"nothing done", func(context.Context, *sharedbase.Claim) error { return nil }, nil, sharedbase.StateFull},
		{"failure", func(context.Context, *sharedbase.Claim) error { return failure }, failure, sharedbase.StateFull},
		{"panic", func(context.Context, *sharedbase.Claim) error { panic(failure) }, failure, sharedbase.StateFull},
		{"cancelled", func(ctx context.Context, _ *sharedbase.Claim) error { cancel(); return ctx.Err() }, context.Canceled, sharedbase.StateFull},
		{"success", func(_ context.Context, c *sharedbase.Claim) error {
			return c.SetState(t.Context(), sharedbase.StatePacked)
		}, nil, sharedbase.StatePacked},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx := ctx
			if ctx.Err() != nil {
				ctx = t.Context()
			}
			worked, err := func() (worked bool, err error) {
				defer func() {
					if p := recover(); p != nil {
						worked, err = true, p.(error)
					}
				}()
				return b.WithOneShard(ctx, sharedbase.StateFull, sharedbase.StatePacking, sharedbase.ClaimFilter{}, c.work)
			}()
			if !worked || !errors.Is(err, c.err) {
				t.Errorf("worked: %v, %v", worked, err)
			}
			if now := must(b.ShardByID(t.Context(), s.ID))(t); now.State != c.end || now.State.Locked() || !now.LockedAt.IsZero() {
				t.Errorf("the shard is %+v, want it %s", now, c.end)
			}
		})
	}
	worked, err := b.WithOneShard(t.Context(), sharedbase.StateFull, sharedbase.StatePacking, sharedbase.ClaimFilter{}, nil)
	if worked || err != nil {
		t.Errorf("without a shard: %v, %v", worked, err)
	}
}

// Python makes a shard's row before its table, and may die in between.
func TestLockWritingShardMakesTheTable(t *testing.T) {
	b, conn := newBase(t)
	exec(t, conn, "INSERT INTO shards (name, pool_name) VALUES ('i0123456789abcdef0123456789abcde', 'pool')")
	c := must(b.LockWritingShard(t.Context(), "pool"))(t)
	must(b.Add(t.Context(), c, objects("content")))(t)
	present(t, b, "i0123456789abcdef0123456789abcde", object("content"))
	options := "SELECT count(*) FROM pg_class WHERE relname = 'shard_' || $1 AND reloptions = '{autovacuum_enabled=false,toast_tuple_target=4080}'"
	if count(t, conn, options, c.Name()) != 1 {
		t.Error("the table is not as it should be")
	}
	if other := must(b.LockWritingShard(t.Context(), "pool"))(t); other.ID() == c.ID() {
		t.Error("a locked shard was locked again")
	}
}

func TestRefusedMoves(t *testing.T) {
	b, _ := newBase(t)
	ctx := t.Context()
	c := must(b.CreateShard(ctx, "pool"))(t)
	for _, to := range []sharedbase.ShardState{sharedbase.StatePacked, sharedbase.StateReadOnly, sharedbase.StateWriting, "", "nonsense"} {
		err := c.SetState(ctx, to)
		if err == nil || !strings.Contains(err.Error(), c.Name()) || !strings.Contains(err.Error(), "from writing to "+string(to)) {
			t.Errorf("to %q: %v", to, err)
		}
	}
	if err := c.SetState(ctx, sharedbase.StateFull); err != nil {
		t.Fatal(err)
	}
	if err := c.Release(ctx); err != nil {
		t.Errorf("releasing what was moved on: %v", err)
	}
	if err := c.DropTable(ctx); err == nil {
		t.Error("dropped the table of a full shard")
	}
	if _, err := b.LockOneShard(ctx, sharedbase.StateFull, sharedbase.StateCleaning, sharedbase.ClaimFilter{}); err == nil {
		t.Error("locked a full shard for cleaning")
	}
	if _, err := b.LockOneShard(ctx, sharedbase.StateWriting, sharedbase.StateFull, sharedbase.ClaimFilter{}); err == nil {
		t.Error("locked a shard in a state that is not a locked one")
	}
	if _, err := b.CreateShard(ctx, ""); err == nil {
		t.Error("created a shard without a pool")
	}
	if err := b.ReleaseShard(ctx, must(b.ShardByID(ctx, c.ID()))(t)); err == nil {
		t.Error("released a shard that is not locked")
	}
}

func TestStateErrorNamesAll(t *testing.T) {
	b, conn := newBase(t)
	ctx := t.Context()
	c := must(b.CreateShard(ctx, "pool"))(t)
	mine := must(b.ShardByID(ctx, c.ID()))(t).Locker
	exec(t, conn, "UPDATE shards SET state = 'packing', locker = '00000000-0000-0000-0000-000000000001'")
	err := c.SetState(ctx, sharedbase.StateFull)
	for _, part := range []string{c.Name(), "has state packing by 00000000-0000-0000-0000-000000000001", "expected writing by " + mine.String()} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not say %q", err, part)
		}
	}
	exec(t, conn, "DELETE FROM shards")
	err = c.SetState(ctx, sharedbase.StateFull)
	wantState(t, err, "")
	if !strings.Contains(err.Error(), "does not exist") {
		t.Error(err)
	}
}

func TestDropTableWaitsForReaders(t *testing.T) {
	b, conn := newBase(t)
	s := shardIn(t, b, sharedbase.StatePacked, objects("content")...)
	c := claim(t, b, s, sharedbase.StateCleaning)
	exec(t, conn, "BEGIN")
	exec(t, conn, "SELECT FROM shard_"+s.Name)
	dropping := background(func() error { return c.DropTable(t.Context()) })
	// An attempt ends after a while, so that it does not block other readers, and
	// is retried.
	attempts := map[time.Time]bool{}
	expect.Eventually(t, "a second attempt", func() bool {
		for _, begun := range waiting(t, conn) {
			attempts[begun] = true
		}
		return len(attempts) == 2
	})
	exec(t, conn, "COMMIT")
	if err := <-dropping; err != nil {
		t.Fatal(err)
	}
	if now := must(b.ShardByID(t.Context(), s.ID))(t); now.State != sharedbase.StateReadOnly {
		t.Errorf("the shard is %s", now.State)
	}
}

// A caller without the right, or whose context has ended, does not drop the
// table.
func TestDropTableIsOneStep(t *testing.T) {
	b, conn := newBase(t)
	s := shardIn(t, b, sharedbase.StatePacked, objects("content")...)
	c := claim(t, b, s, sharedbase.StateCleaning)

	exec(t, conn, "BEGIN")
	exec(t, conn, "SELECT FROM shard_"+s.Name)
	ctx, cancel := context.WithCancel(t.Context())
	dropping := background(func() error { return c.DropTable(ctx) })
	blocked(t, conn, 1)
	cancel()
	if err := <-dropping; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
	exec(t, conn, "COMMIT")
	if now := must(b.ShardByID(t.Context(), s.ID))(t); now.State != sharedbase.StateCleaning {
		t.Errorf("the shard is %s", now.State)
	}

	if err := b.ReleaseShard(t.Context(), must(b.ShardByID(t.Context(), s.ID))(t)); err != nil {
		t.Fatal(err)
	}
	wantState(t, c.DropTable(t.Context()), sharedbase.StatePacked)
	present(t, b, s.Name, object("content"))
}

// TestDropTableNeedsHosts: a host that was forgotten after the claim does not count, and
// the owner of the database may ask for more hosts than the claim did.
func TestDropTableNeedsHosts(t *testing.T) {
	b, conn := newBase(t)
	s := shardIn(t, b, sharedbase.StatePacked, objects("content")...)
	must(b.RecordShardMapped(t.Context(), "a", s.Pool, s.Name))(t)
	c := must(b.LockOneShard(t.Context(), sharedbase.StatePacked, sharedbase.StateCleaning, sharedbase.ClaimFilter{MinMappedHosts: 1}))(t)
	must(b.ForgetHost(t.Context(), "a", 1, true))(t)
	refused := func(why string) {
		t.Helper()
		if err := c.DropTable(t.Context()); !errors.Is(err, sharedbase.ErrTooFewHosts) {
			t.Errorf("%s: got %v, want ErrTooFewHosts", why, err)
		}
		present(t, b, s.Name, object("content"))
	}
	refused("the host was forgotten")
	must(b.RecordShardMapped(t.Context(), "a", s.Pool, s.Name))(t)
	exec(t, conn, "ALTER FUNCTION winery_drop_table SET winery.min_mapped_hosts = '2'")
	exec(t, conn, "SET winery.min_mapped_hosts = '1'") // of the session, which does not count
	refused("the owner asks for two")
	must(b.RecordShardMapped(t.Context(), "b", s.Pool, s.Name))(t)
	expect.NoError(t, c.DropTable(t.Context()))
}

// TestDroppableNeedsHosts: as many as the owner of the database asks for.
func TestDroppableNeedsHosts(t *testing.T) {
	b, conn := newBase(t)
	s := shardIn(t, b, sharedbase.StatePacked, objects("content")...)
	expect.NoError(t, b.Droppable(t.Context(), s.Name))
	exec(t, conn, "ALTER FUNCTION winery_drop_table SET winery.min_mapped_hosts = '1'")
	if err := b.Droppable(t.Context(), s.Name); !errors.Is(err, sharedbase.ErrTooFewHosts) {
		t.Errorf("no host has mapped it: %v", err)
	}
	must(b.RecordShardMapped(t.Context(), "a", s.Pool, s.Name))(t)
	expect.NoError(t, b.Droppable(t.Context(), s.Name))
}

// TestDroppableUnclaimable: a table in use is no failure where the shard cannot be claimed.
func TestDroppableUnclaimable(t *testing.T) {
	b, conn := newBase(t)
	quarantined := shardIn(t, b, sharedbase.StatePacked, objects("one")...)
	expect.NoError(t, b.Quarantine(t.Context(), quarantined.ID, "damaged"))
	claimed := shardIn(t, b, sharedbase.StateCleaning, objects("two")...)
	exec(t, conn, "BEGIN")
	for _, s := range []sharedbase.Shard{quarantined, claimed} {
		exec(t, conn, "SELECT FROM shard_"+s.Name)
		expect.NoError(t, b.Droppable(t.Context(), s.Name))
	}
	exec(t, conn, "COMMIT")
}

// TestDroppable: a transaction that lasts keeps a table, many short ones do not.
func TestDroppable(t *testing.T) {
	b, conn := newBase(t)
	s := shardIn(t, b, sharedbase.StatePacked, objects("content")...)
	expect.NoError(t, b.Droppable(t.Context(), s.Name))
	exec(t, conn, "BEGIN")
	exec(t, conn, "SELECT FROM shard_"+s.Name)
	if err := b.Droppable(t.Context(), s.Name); !errors.Is(err, sharedbase.ErrTableInUse) ||
		!strings.Contains(err.Error(), fmt.Sprintf("process %d of", conn.PgConn().PID())) {
		t.Errorf("a transaction that lasts: %v", err)
	}
	// Each look finds a transaction that uses the table, but not the one of the look before.
	looks := 0
	another := sharedbase.WithObserver(func(done sharedbase.Statement) {
		if done.Done && done.Name() == "Hindrances" {
			looks++
			exec(t, conn, "COMMIT; BEGIN; SELECT FROM shard_"+s.Name)
		}
	})
	looking := must(sharedbase.New(conn.Config().ConnString(), "winery test", another))(t)
	t.Cleanup(looking.Close)
	expect.NoError(t, looking.Droppable(t.Context(), s.Name))
	if looks < 2 {
		t.Errorf("the table was looked at %d times", looks)
	}
}
