// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"winery/sharedbase"
	"winery/test/expect"
)

// deletedIn returns what is to be erased from a shard's image, ascending.
func deletedIn(t testing.TB, b *sharedbase.SharedBase, shardID int64) []sharedbase.ObjID {
	t.Helper()
	ids := must(b.DeletedObjects(t.Context(), shardID, 1000))(t)
	slices.SortFunc(ids, func(x, y sharedbase.ObjID) int { return bytes.Compare(x[:], y[:]) })
	return ids
}

// toErase reports whether a cleaner is to erase objects in a shard's image.
func toErase(t testing.TB, b *sharedbase.SharedBase, shardID int64) bool {
	t.Helper()
	return slices.ContainsFunc(must(b.ShardsToErase(t.Context(), "pool"))(t), func(s sharedbase.Shard) bool { return s.ID == shardID })
}

// In every state of its shard a deleted object is absent at once, gone from
// the table where there is one, and marked for the cleaner; and it can be added
// again.
func TestDelete(t *testing.T) {
	b, conn := newBase(t)
	ctx := t.Context()
	before := map[sharedbase.ShardState]sharedbase.ShardState{
		sharedbase.StateWriting:  sharedbase.StateStandby,
		sharedbase.StatePacking:  sharedbase.StateFull,
		sharedbase.StateCleaning: sharedbase.StatePacked,
	}
	for _, state := range []sharedbase.ShardState{
		sharedbase.StateStandby, sharedbase.StateWriting, sharedbase.StateFull, sharedbase.StatePacking,
		sharedbase.StatePacked, sharedbase.StateCleaning, sharedbase.StateReadOnly,
	} {
		t.Run(string(state), func(t *testing.T) {
			gone, kept := object("gone "+string(state)), object("kept "+string(state))
			unlocked, locked := before[state]
			if !locked {
				unlocked = state
			}
			s := shardIn(t, b, unlocked, gone, kept)
			if locked {
				claim(t, b, s, state)
			}
			if err := b.Delete(ctx, gone.ID); err != nil {
				t.Fatal(err)
			}
			absent(t, b, gone)
			if err := b.Delete(ctx, gone.ID); !errors.Is(err, sharedbase.ErrNotFound) {
				t.Errorf("deleted again: %v", err)
			}
			if state != sharedbase.StateReadOnly {
				if n := count(t, conn, "SELECT count(*) FROM shard_"+s.Name); n != 1 {
					t.Errorf("%d rows are left in the table, want 1", n)
				}
			}
			if marked := deletedIn(t, b, s.ID); !slices.Equal(marked, ids(gone)) {
				t.Errorf("marked: %x", marked)
			}
			if got := toErase(t, b, s.ID); got != state.ImageAvailable() {
				t.Errorf("to be erased: %v", got)
			}
			if n := must(b.CountObjects(ctx, s.Name))(t); n != 1 {
				t.Errorf("%d objects are left, want 1", n)
			}
			again := must(b.CreateShard(ctx, "pool"))(t)
			must(b.Add(ctx, again, []sharedbase.Object{gone, kept}))(t)
			present(t, b, again.Name(), gone)
			if marked := deletedIn(t, b, s.ID); !slices.Equal(marked, ids(gone)) {
				t.Errorf("added again elsewhere, the object is not to be erased in its first shard any more: %x", marked)
			}
		})
	}
}

func TestDeleteOfNothing(t *testing.T) {
	b, _ := newBase(t)
	if err := b.Delete(t.Context(), object("unknown").ID); !errors.Is(err, sharedbase.ErrNotFound) {
		t.Errorf("error %v, want ErrNotFound", err)
	}
}

// Packing cannot begin while an object is being deleted, and then does not
// find it.
func TestDeleteBeforePacking(t *testing.T) {
	b, conn := newBase(t)
	b.SetLockWait(time.Minute)
	ctx := t.Context()
	o := object("content")
	s := shardIn(t, b, sharedbase.StateFull, o)
	exec(t, conn, "BEGIN")
	exec(t, conn, "SELECT FROM signature2shard FOR UPDATE")
	deleting := background(func() error { return b.Delete(ctx, o.ID) })
	blocked(t, conn, 1)
	if c := must(b.LockOneShard(ctx, sharedbase.StateFull, sharedbase.StatePacking, sharedbase.ClaimFilter{}))(t); c != nil {
		t.Error("packing began")
	}
	exec(t, conn, "ROLLBACK")
	if err := <-deleting; err != nil {
		t.Fatal(err)
	}
	n, err := b.StreamTable(ctx, claim(t, b, s, sharedbase.StatePacking), nil)
	if n != 0 || err != nil {
		t.Errorf("packing found %d objects, %v", n, err)
	}
}

// While an object is deleted, Python's packer can finish: it looks for the
// shard's row FOR UPDATE SKIP LOCKED, and gives up if it gets none.
func TestDeleteDoesNotHinderPythonsPacker(t *testing.T) {
	b, conn := newBase(t)
	b.SetLockWait(time.Minute)
	o := object("content")
	s := shardIn(t, b, sharedbase.StateFull, o, object("another"))
	claim(t, b, s, sharedbase.StatePacking)
	packer := python(t, conn.Config().ConnString(), `
print("ready", flush=True)
sys.stdin.read()
base.shard_packing_ends("`+s.Name+`")`)
	var stderr bytes.Buffer
	packer.Stderr = &stderr
	begin := must(packer.StdinPipe())(t)
	output := must(packer.StdoutPipe())(t)
	expect.NoError(t, packer.Start())
	// It is ready before the deletion waits.
	if line, err := bufio.NewReader(output).ReadString('\n'); line != "ready\n" {
		t.Fatalf("Python says %q: %v, %v\n%s", line, err, packer.Wait(), stderr.String())
	}
	exec(t, conn, "BEGIN")
	exec(t, conn, "SELECT FROM signature2shard FOR UPDATE")
	deleting := background(func() error { return b.Delete(t.Context(), o.ID) })
	blocked(t, conn, 1)
	expect.NoError(t, begin.Close())
	if err := packer.Wait(); err != nil {
		t.Errorf("Python: %v\n%s", err, stderr.String())
	}
	exec(t, conn, "ROLLBACK")
	if err := <-deleting; err != nil {
		t.Fatal(err)
	}
	if marked := deletedIn(t, b, s.ID); !slices.Equal(marked, ids(o)) || !toErase(t, b, s.ID) {
		t.Errorf("marked: %x", marked)
	}
}

// A table is not dropped during a deletion, and a deletion succeeds if the table
// no longer exists.
func TestDeleteAndDropTable(t *testing.T) {
	b, conn := newBase(t)
	b.SetLockWait(time.Minute)
	ctx := t.Context()
	first, second := object("first"), object("second")
	s := shardIn(t, b, sharedbase.StatePacked, first, second)
	c := claim(t, b, s, sharedbase.StateCleaning)
	exec(t, conn, "BEGIN")
	exec(t, conn, "SELECT FROM signature2shard FOR UPDATE")
	deleting := background(func() error { return b.Delete(ctx, first.ID) })
	blocked(t, conn, 1)
	dropping := background(func() error { return c.DropTable(ctx) })
	blocked(t, conn, 2)
	exec(t, conn, "ROLLBACK")
	if err := errors.Join(<-deleting, <-dropping, b.Delete(ctx, second.ID)); err != nil {
		t.Fatal(err)
	}
	want := ids(first, second)
	slices.SortFunc(want, func(x, y sharedbase.ObjID) int { return bytes.Compare(x[:], y[:]) })
	if marked := deletedIn(t, b, s.ID); !slices.Equal(marked, want) {
		t.Errorf("marked: %x", marked)
	}
}

// A deletion gives up before other transactions would that wait for a lock: there are few connections for deletions.
func TestDeleteOfContendedObject(t *testing.T) {
	b, conn := newBase(t)
	b.SetShortTimeout(9 * time.Second) // a transition waits for ten
	o := object("content")
	shardIn(t, b, sharedbase.StateFull, o)
	exec(t, conn, "BEGIN")
	exec(t, conn, "SELECT FROM signature2shard FOR UPDATE")
	if err := b.Delete(t.Context(), o.ID); !errors.Is(err, sharedbase.ErrUnavailable) || code(err) != "55P03" {
		t.Errorf("error %v, want one of a lock that is not to be had", err)
	}
	exec(t, conn, "ROLLBACK")
	expect.NoError(t, b.Delete(t.Context(), o.ID))
}

// Two that delete one object: one of them finds it gone.
func TestDeleteTwiceAtOnce(t *testing.T) {
	b, conn := newBase(t)
	b.SetLockWait(time.Minute)
	o := object("content")
	shardIn(t, b, sharedbase.StateFull, o)
	exec(t, conn, "BEGIN")
	exec(t, conn, "SELECT FROM signature2shard FOR UPDATE")
	one := background(func() error { return b.Delete(t.Context(), o.ID) })
	other := background(func() error { return b.Delete(t.Context(), o.ID) })
	blocked(t, conn, 2)
	exec(t, conn, "ROLLBACK")
	err1, err2 := <-one, <-other
	if (err1 == nil) == (err2 == nil) || !errors.Is(errors.Join(err1, err2), sharedbase.ErrNotFound) {
		t.Errorf("errors %v and %v", err1, err2)
	}
}

// An add of an object whose deletion has not committed counts as earlier: the
// object is present, and the add does not wait. After the deletion it is absent,
// until it is added again.
func TestAddWhileDeleting(t *testing.T) {
	b, conn := newBase(t)
	b.SetLockWait(time.Minute)
	ctx := t.Context()
	o := object("content")
	c := must(b.LockWritingShard(ctx, "pool"))(t)
	must(b.Add(ctx, c, []sharedbase.Object{o}))(t)
	exec(t, conn, "BEGIN")
	exec(t, conn, "SELECT FROM shard_"+c.Name()+" FOR UPDATE")
	deleting := background(func() error { return b.Delete(ctx, o.ID) })
	blocked(t, conn, 1) // the index row is marked, the content not yet gone
	if added := must(b.Add(ctx, c, []sharedbase.Object{o}))(t); added.New[0] {
		t.Errorf("added %+v", added)
	}
	present(t, b, c.Name(), o)
	exec(t, conn, "ROLLBACK")
	if err := <-deleting; err != nil {
		t.Fatal(err)
	}
	absent(t, b, o)
	must(b.Add(ctx, c, []sharedbase.Object{o}))(t)
	present(t, b, c.Name(), o)
}

func TestRecordErased(t *testing.T) {
	b, conn := newBase(t)
	ctx := t.Context()
	gone, again, late := object("gone"), object("again"), object("late")
	s := shardIn(t, b, sharedbase.StatePacked, gone, again, late, object("kept"))
	for _, o := range []sharedbase.Object{gone, again} {
		if err := b.Delete(ctx, o.ID); err != nil {
			t.Fatal(err)
		}
	}
	other := must(b.LockWritingShard(ctx, "pool"))(t)
	must(b.Add(ctx, other, []sharedbase.Object{again}))(t)
	c := must(b.ClaimImage(ctx, s.Name))(t)
	marked := deletedIn(t, b, s.ID)
	if err := b.Delete(ctx, late.ID); err != nil {
		t.Fatal(err)
	}
	if n := must(c.RecordErased(ctx, append(marked, object("kept").ID)))(t); n != 2 {
		t.Errorf("removed %d marks and notes, want 2", n)
	}
	if n := count(t, conn, "SELECT count(*) FROM signature2shard WHERE state = 'present'"); n != 2 {
		t.Errorf("%d objects are present, want 2", n)
	}
	if n := must(c.RecordErased(ctx, marked))(t); n != 0 {
		t.Errorf("removed %d marks again", n)
	}
	if left := deletedIn(t, b, s.ID); !slices.Equal(left, ids(late)) {
		t.Errorf("left: %x", left)
	}
}

func TestShardsToErase(t *testing.T) {
	b, _ := newBase(t)
	ctx := t.Context()
	var deleted []sharedbase.Object
	for _, o := range objects("a", "b", "c") {
		state := map[string]sharedbase.ShardState{"a": sharedbase.StatePacked, "b": sharedbase.StateReadOnly, "c": sharedbase.StateFull}[string(o.Content)]
		shardIn(t, b, state, o)
		if err := b.Delete(ctx, o.ID); err != nil {
			t.Fatal(err)
		}
		deleted = append(deleted, o)
	}
	shardIn(t, b, sharedbase.StatePacked, deleted[1]) // its first shard has a note now
	for pool, want := range map[string]int{"": 2, "pool": 2, "other": 0} {
		if got := must(b.ShardsToErase(ctx, pool))(t); len(got) != want {
			t.Errorf("pool %q: %+v, want %d shards", pool, got, want)
		}
	}
	left := must(b.LeftToErase(ctx))(t)
	if len(left) != 3 || !slices.ContainsFunc(left, func(l sharedbase.ToErase) bool { return l.State == sharedbase.StateFull }) {
		t.Errorf("left to erase: %+v", left)
	}
	for _, l := range left {
		if l.Objects != 1 || l.Pool != "pool" || l.Quarantined {
			t.Errorf("left to erase: %+v", l)
		}
	}
	b.Close()
	if _, err := b.ShardsToErase(ctx, ""); err == nil {
		t.Error("no error from a closed database")
	}
}

// A deleted id that is no SHA-256, as Python's index may have, does not hinder the erasing of the others in its shard, and
// alone is nothing to erase.
func TestDeletedIDOfAnotherSize(t *testing.T) {
	b, conn := newBase(t)
	ctx := t.Context()
	o := object("deleted")
	s, other := shardIn(t, b, sharedbase.StateReadOnly, o), shardIn(t, b, sharedbase.StateReadOnly)
	mark := func(id string) {
		exec(t, conn, "INSERT INTO signature2shard (signature, state, shard) VALUES ($1::text::bytea, 'deleted', $2)", id, s.ID)
	}
	mark("short")
	mark("moves")
	exec(t, conn, "UPDATE signature2shard SET shard = $1 WHERE signature = 'moves'", other.ID) // a note of the first shard
	if toErase(t, b, s.ID) || toErase(t, b, other.ID) {
		t.Error("there is something to erase")
	}
	if all := must(b.Unerased(ctx))(t); len(all) != 0 {
		t.Errorf("to be erased: %+v", all)
	}
	expect.NoError(t, b.Delete(ctx, o.ID))
	marked := deletedIn(t, b, s.ID)
	if !toErase(t, b, s.ID) || !slices.Equal(marked, ids(o)) {
		t.Errorf("to be erased: %x", marked)
	}
	c := must(b.ClaimImage(ctx, s.Name))(t)
	if n := must(c.RecordErased(ctx, marked))(t); n != 1 || toErase(t, b, s.ID) {
		t.Errorf("%d erased, more to erase: %v", n, toErase(t, b, s.ID))
	}
}

// An object that is deleted, added to another shard, deleted there and added to
// its first shard again stays in the image of the first: the note of its first
// deletion counts no longer.
func TestAddedBackToItsShard(t *testing.T) {
	b, _ := newBase(t)
	ctx := t.Context()
	o := object("back and forth")
	first := must(b.CreateShard(ctx, "pool"))(t)
	second := must(b.CreateShard(ctx, "pool"))(t)
	for _, c := range []*sharedbase.Claim{first, second} {
		must(b.Add(ctx, c, []sharedbase.Object{o}))(t)
		if err := b.Delete(ctx, o.ID); err != nil {
			t.Fatal(err)
		}
	}
	must(b.Add(ctx, first, []sharedbase.Object{o}))(t)
	for _, c := range []*sharedbase.Claim{first, second} {
		if err := c.SetState(ctx, sharedbase.StateFull); err != nil {
			t.Fatal(err)
		}
		packing := claim(t, b, must(b.ShardByID(ctx, c.ID()))(t), sharedbase.StatePacking)
		if err := packing.SetState(ctx, sharedbase.StatePacked); err != nil {
			t.Fatal(err)
		}
	}
	if toErase(t, b, first.ID()) || !toErase(t, b, second.ID()) {
		t.Error("want something to erase in the second shard alone")
	}
	if left := deletedIn(t, b, first.ID()); len(left) != 0 {
		t.Errorf("to be erased from the first shard: %x", left)
	}
	for c, want := range map[*sharedbase.Claim]sharedbase.ObjectStatus{
		first:  {Present: true},
		second: {Erasing: true, Elsewhere: true},
	} {
		if got := must(b.ObjectStatuses(ctx, c.ID(), ids(o)))(t)[0]; got != want {
			t.Errorf("shard %s: %+v, want %+v", c.Name(), got, want)
		}
	}
	if err := b.Delete(ctx, o.ID); err != nil {
		t.Fatal(err)
	}
	if left := deletedIn(t, b, first.ID()); !slices.Equal(left, ids(o)) {
		t.Errorf("deleted once more, to be erased: %x", left)
	}
}

// Objects that are deleted while their shard is being packed stay marked: the
// snapshot that is packed has them.
func TestDeleteWhilePacking(t *testing.T) {
	b, _ := newBase(t)
	ctx := t.Context()
	all := objects("a", "b", "c")
	s := shardIn(t, b, sharedbase.StateFull, all...)
	c := claim(t, b, s, sharedbase.StatePacking)
	streamed := 0
	n, err := b.StreamTable(ctx, c, func(sharedbase.ObjID, int64, io.Reader) error {
		if streamed++; streamed > 1 {
			return nil
		}
		return errors.Join(b.Delete(ctx, all[0].ID), b.Delete(ctx, all[1].ID))
	})
	if n != 3 || streamed != 3 || err != nil {
		t.Errorf("streamed %d, counted %d: %v", streamed, n, err)
	}
	if marked := deletedIn(t, b, s.ID); len(marked) != 2 {
		t.Errorf("%d objects are marked", len(marked))
	}
}
