// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"winery/sharedbase"
)

func TestAddLeavesWhatAnotherShardHas(t *testing.T) {
	b, conn := newBase(t)
	old := shardIn(t, b, sharedbase.StateFull, objects("shared", "old")...)
	c := must(b.LockWritingShard(t.Context(), "pool"))(t)
	added := must(b.Add(t.Context(), c, objects("new", "shared")))(t)
	if !added.New[0] || added.New[1] || added.Objects != 1 || added.Bytes != 3 {
		t.Errorf("added %+v", added)
	}
	present(t, b, old.Name, object("shared"))
	present(t, b, c.Name(), object("new"))
	if n := count(t, conn, "SELECT count(*) FROM shard_"+c.Name()); n != 1 {
		t.Errorf("%d rows in the table, want 1", n)
	}
}

// Rows that do not say present are no reason not to store an object.
func TestAddTakesOver(t *testing.T) {
	for _, state := range []string{"deleted", "inflight"} {
		t.Run(state, func(t *testing.T) {
			b, conn := newBase(t)
			old := shardIn(t, b, sharedbase.StateReadOnly)
			o := object("content")
			exec(t, conn, "INSERT INTO signature2shard (signature, shard, state) VALUES ($1, $2, $3)", o.ID[:], old.ID, state)
			absent(t, b, o)
			c := must(b.LockWritingShard(t.Context(), "pool"))(t)
			if added := must(b.Add(t.Context(), c, []sharedbase.Object{o}))(t); !added.New[0] {
				t.Errorf("added %+v", added)
			}
			present(t, b, c.Name(), o)
		})
	}
}

// A row that the index forgot is in the way of a COPY, but not of Add.
func TestAddOverLeftContent(t *testing.T) {
	b, conn := newBase(t)
	c := must(b.LockWritingShard(t.Context(), "pool"))(t)
	o := object("content")
	exec(t, conn, "INSERT INTO shard_"+c.Name()+" VALUES ($1, 'something else')", o.ID[:])
	must(b.Add(t.Context(), c, []sharedbase.Object{o, object("another")}))(t)
	present(t, b, c.Name(), o)
	present(t, b, c.Name(), object("another"))
}

// The old holder of a shard that was released and locked again can write nothing.
func TestZombie(t *testing.T) {
	b, conn := newBase(t)
	ctx := t.Context()
	zombie := must(b.LockWritingShard(ctx, "pool"))(t)
	if err := b.ReleaseShard(ctx, must(b.ShardByName(ctx, zombie.Name()))(t)); err != nil {
		t.Fatal(err)
	}
	_, err := b.Add(ctx, zombie, objects("too late"))
	wantState(t, err, sharedbase.StateStandby)
	heir := must(b.LockWritingShard(ctx, "pool"))(t)
	if heir.ID() != zombie.ID() {
		t.Fatal("the released shard was not locked again")
	}
	_, err = b.Add(ctx, zombie, objects("too late"))
	wantState(t, err, sharedbase.StateWriting)
	wantState(t, zombie.SetState(ctx, sharedbase.StateFull), sharedbase.StateWriting)
	wantState(t, zombie.Release(ctx), sharedbase.StateWriting)
	absent(t, b, object("too late"))
	if n := count(t, conn, "SELECT count(*) FROM shard_"+heir.Name()); n != 0 {
		t.Errorf("%d rows were written", n)
	}
	must(b.Add(ctx, heir, objects("in time")))(t)
}

// While an Add is in flight, no other process can take the shard.
func TestAddHoldsTheShard(t *testing.T) {
	b, conn := newBase(t)
	b.SetLockWait(time.Minute)
	ctx := t.Context()
	c := must(b.LockWritingShard(ctx, "pool"))(t)
	o := object("content")
	exec(t, conn, "BEGIN")
	exec(t, conn, "INSERT INTO signature2shard VALUES ($1, 'present', $2)", o.ID[:], c.ID())
	adding := background(func() error { _, err := b.Add(ctx, c, []sharedbase.Object{o}); return err })
	blocked(t, conn, 1)
	seen := must(b.ShardByName(ctx, c.Name()))(t)
	releasing := background(func() error { return b.ReleaseShard(ctx, seen) })
	blocked(t, conn, 2)
	exec(t, conn, "ROLLBACK")
	if err := errors.Join(<-adding, <-releasing); err != nil {
		t.Fatal(err)
	}
	present(t, b, c.Name(), o)
}

// A backend that dies in the middle leaves nothing behind, and adding again
// works.
func TestAddBackendKilled(t *testing.T) {
	b, conn := newBase(t)
	b.SetLockWait(time.Minute)
	ctx := t.Context()
	c := must(b.LockWritingShard(ctx, "pool"))(t)
	o := object("b")
	exec(t, conn, "BEGIN")
	exec(t, conn, "INSERT INTO signature2shard VALUES ($1, 'present', $2)", o.ID[:], c.ID())
	adding := background(func() error { _, err := b.Add(ctx, c, objects("a", "b", "c", "d")); return err })
	blocked(t, conn, 1)
	exec(t, conn, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
	if err := <-adding; !errors.Is(err, sharedbase.ErrUnavailable) {
		t.Errorf("error %v, want ErrUnavailable", err)
	}
	exec(t, conn, "ROLLBACK")
	for _, o := range objects("a", "b", "c", "d") {
		absent(t, b, o)
	}
	if added := must(b.Add(ctx, c, objects("a", "b", "c", "d")))(t); added.Objects != 4 {
		t.Errorf("added %+v", added)
	}
}

// An object that is present needs no lock of its row: a transaction that holds
// the row delays no add, and the add does not write to the row.
func TestAddOfAPresentObjectLocksNoRow(t *testing.T) {
	b, conn := newBase(t)
	ctx := t.Context()
	c := must(b.LockWritingShard(ctx, "pool"))(t)
	must(b.Add(ctx, c, objects("held", "free")))(t)
	held, free := object("held"), object("free")
	exec(t, conn, "BEGIN")
	exec(t, conn, "SELECT FROM signature2shard WHERE signature = $1 FOR UPDATE", held.ID[:])
	if added := must(b.Add(ctx, c, objects("held", "free", "new")))(t); added.Objects != 1 || !added.New[2] {
		t.Errorf("added %+v", added)
	}
	exec(t, conn, "COMMIT")
	present(t, b, c.Name(), object("new"))
	if n := count(t, conn, "SELECT count(*) FROM signature2shard WHERE signature = $1 AND xmax <> '0'", free.ID[:]); n != 0 {
		t.Error("the row of an object that was present has been locked")
	}
}

// A row that another transaction holds for long stores nothing and keeps the
// claim; objects without such a row can be added meanwhile.
func TestAddOfAContendedObject(t *testing.T) {
	deleted := object("deleted")
	for what, lock := range map[string]string{
		"inserted":      "INSERT INTO signature2shard (signature, state, shard) SELECT $1, 'present', min(id) FROM shards",
		"deleted, held": "SELECT FROM signature2shard WHERE signature = $1 FOR UPDATE",
	} {
		t.Run(what, func(t *testing.T) {
			b, conn := newBase(t)
			ctx := t.Context()
			c := must(b.LockWritingShard(ctx, "pool"))(t)
			contended := object("inserted")
			if what != "inserted" {
				contended = deleted
				must(b.Add(ctx, c, []sharedbase.Object{deleted}))(t)
				if err := b.Delete(ctx, deleted.ID); err != nil {
					t.Fatal(err)
				}
			}
			exec(t, conn, "BEGIN")
			exec(t, conn, lock, contended.ID[:])
			both := []sharedbase.Object{object("free"), contended}
			_, err := b.Add(ctx, c, both)
			if !errors.Is(err, sharedbase.ErrContended) || !errors.Is(err, sharedbase.ErrUnavailable) {
				t.Errorf("both: %v", err)
			}
			absent(t, b, object("free"))
			if _, err := b.TryAdd(ctx, c, []sharedbase.Object{contended}); !errors.Is(err, sharedbase.ErrContended) {
				t.Errorf("the contended: %v", err)
			}
			if added := must(b.TryAdd(ctx, c, both[:1]))(t); added.Objects != 1 {
				t.Errorf("the free: %+v", added)
			}
			exec(t, conn, "ROLLBACK")
			if added := must(b.Add(ctx, c, both))(t); added.Objects != 1 || !added.New[1] {
				t.Errorf("both at last: %+v", added)
			}
			present(t, b, c.Name(), contended)
		})
	}
}

// A call that adds nothing acknowledges what others committed, perhaps not yet
// replicated: it must have a transaction id, so that its commit is written to
// the log and waits for the standby. It shows as the xmax of the shard's row.
func TestAddOfNothingNewWritesALog(t *testing.T) {
	b, conn := newBase(t)
	ctx := t.Context()
	c := must(b.LockWritingShard(ctx, "pool"))(t)
	must(b.Add(ctx, c, objects("content")))(t)
	lastLock := "SELECT xmax::text::int FROM shards"
	before := count(t, conn, lastLock)
	if added := must(b.Add(ctx, c, objects("content")))(t); added.Objects != 0 {
		t.Fatalf("added %+v", added)
	}
	after := count(t, conn, lastLock)
	if after == before || count(t, conn, "SELECT count(*) WHERE pg_xact_status($1::text::xid8) = 'committed'", fmt.Sprint(after)) != 1 {
		t.Errorf("the second call had no transaction of its own: %d, %d", before, after)
	}
}

// Writers that add the same objects at the same moment, in any order: each
// object is new for exactly one of them.
func TestAddAtOnce(t *testing.T) {
	b, conn := newBase(t)
	b.SetLockWait(time.Minute)
	ctx := t.Context()
	const writers, rounds, group = 4, 5, 50
	var news sync.Map
	var all sync.WaitGroup
	for w := range writers {
		c := must(b.CreateShard(ctx, "pool"))(t)
		all.Go(func() {
			for r := range rounds {
				given := make([]sharedbase.Object, group)
				for i := range given {
					at := i
					if w%2 == 1 {
						at = group - 1 - i
					}
					given[i] = object(fmt.Sprint(r, at))
				}
				added, err := b.Add(context.Background(), c, given)
				if err != nil {
					t.Error(err)
				}
				for i, isNew := range added.New {
					if !isNew {
						continue
					}
					if other, twice := news.LoadOrStore(given[i].ID, c.Name()); twice {
						t.Errorf("object %x is new in %s and in %s", given[i].ID, other, c.Name())
					}
				}
			}
		})
	}
	all.Wait()
	found := 0
	news.Range(func(id, shard any) bool {
		found++
		content := contents(t, b, shard.(string), []sharedbase.ObjID{id.(sharedbase.ObjID)})
		if content[0] == nil {
			t.Errorf("object %x is not in the table of %s", id, shard)
		}
		return true
	})
	if n := count(t, conn, "SELECT count(*) FROM signature2shard"); found != rounds*group || n != found {
		t.Errorf("%d new objects, %d in the index, want %d", found, n, rounds*group)
	}
}
