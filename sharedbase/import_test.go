// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"errors"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"winery/sharedbase"
	"winery/test/expect"
)

// keys yields the ids of objects, and calls then before it ends.
func keys(then func() error, objects ...sharedbase.Object) iter.Seq2[sharedbase.ObjID, error] {
	return func(yield func(sharedbase.ObjID, error) bool) {
		for _, o := range objects {
			if !yield(o.ID, nil) {
				return
			}
		}
		if err := then(); err != nil {
			yield(sharedbase.ObjID{}, err)
		}
	}
}

func nothing() error { return nil }

func TestImportShard(t *testing.T) {
	b, conn := newBase(t)
	ctx := t.Context()
	owner := shardIn(t, b, sharedbase.StateStandby, objects("both", "deleted", "other")...)
	if err := b.Delete(ctx, object("deleted").ID); err != nil {
		t.Fatal(err)
	}
	image := objects("new", "both", "deleted", "")
	got := must(b.ImportShard(ctx, "image", "pool", sharedbase.ImageRecord{}, keys(nothing, image...)))(t)
	if got.Objects != 4 || got.New != 3 {
		t.Errorf("imported %+v, want 4 objects, 3 of them new", got)
	}
	s := must(b.ShardByName(ctx, "image"))(t)
	if s.State != sharedbase.StateReadOnly || s.Pool != "pool" || s.Locker != uuid.Nil || len(s.MappedOn) != 0 {
		t.Errorf("the shard is %+v", s)
	}
	for content, shard := range map[string]string{"new": "image", "": "image", "deleted": "image", "both": owner.Name, "other": owner.Name} {
		if l := must(b.Locate(ctx, ids(object(content))))(t); l[0].Shard != shard {
			t.Errorf("%q is in %+v, want it in %s", content, l[0], shard)
		}
	}
	if n := count(t, conn, "SELECT count(*) FROM signature2shard"); n != 5 {
		t.Errorf("the index has %d rows, want 5", n)
	}
	if _, err := b.ImportShard(ctx, "image", "pool", sharedbase.ImageRecord{}, keys(nothing)); !errors.Is(err, sharedbase.ErrExists) {
		t.Errorf("importing again: %v", err)
	}
	if got := must(b.ImportShard(ctx, "without", "pool", sharedbase.ImageRecord{}, keys(nothing)))(t); got.Objects != 0 {
		t.Errorf("an image of no objects: %+v", got)
	}
	if _, err := b.ImportShard(ctx, strings.Repeat("x", 33), "pool", sharedbase.ImageRecord{}, keys(nothing)); err == nil {
		t.Error("a name that is too long was accepted")
	}
}

// Until all is there nothing is seen, and where something fails nothing is left.
func TestImportIsWhole(t *testing.T) {
	b, conn := newBase(t)
	ctx := t.Context()
	broken := errors.New("broken")
	for what, fail := range map[string]func() error{
		"an error of the keys": func() error { return broken },
		"a lost connection": func() error {
			exec(t, conn, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
				WHERE datname = current_database() AND application_name = 'winery test' AND xact_start IS NOT NULL`)
			return nil
		},
	} {
		seen := -1
		_, err := b.ImportShard(ctx, "image", "pool", sharedbase.ImageRecord{}, keys(func() error {
			seen = len(must(b.ListShards(ctx, sharedbase.ShardFilter{}))(t))
			if _, err := b.ImportShard(ctx, "image", "pool", sharedbase.ImageRecord{}, keys(nothing)); !errors.Is(err, sharedbase.ErrExists) {
				t.Errorf("a second import meanwhile: %v", err)
			}
			return fail()
		}, objects("a", "b")...))
		if err == nil || seen != 0 {
			t.Errorf("%s: error %v, %d shards seen meanwhile", what, err, seen)
		}
		expect.Eventually(t, "the backend to release its locks", func() bool { // the backend that was terminated holds its locks until it ends
			return count(t, conn, `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
				AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`) == 0
		})
		if n := count(t, conn, "SELECT count(*) FROM shards") + count(t, conn, "SELECT count(*) FROM signature2shard"); n != 0 {
			t.Errorf("%s left %d rows", what, n)
		}
	}
	if _, err := b.ImportShard(ctx, "image", "pool", sharedbase.ImageRecord{}, keys(func() error { return broken })); !errors.Is(err, broken) {
		t.Errorf("the error of the keys became %v", err)
	}
	must(b.ImportShard(ctx, "image", "pool", sharedbase.ImageRecord{}, keys(nothing, objects("a", "b")...)))(t)
	if n := must(b.CountObjects(ctx, "image"))(t); n != 2 {
		t.Errorf("%d objects after the last try, want 2", n)
	}
}

// What an importer of Python's left behind is completed once that one is dead.
// TestImportWaits: an import waits for another one that has an object of its image, longer
// than other transactions wait for a lock.
func TestImportWaits(t *testing.T) {
	t.Parallel()
	b, conn := newBase(t)
	other := must(b.ImportShard(t.Context(), "other", "pool", sharedbase.ImageRecord{}, keys(nothing, objects("a")...)))(t)
	if other.New != 1 {
		t.Fatalf("%+v", other)
	}
	both := object("both")
	exec(t, conn, "BEGIN")
	exec(t, conn, "INSERT INTO signature2shard (signature, shard, state) SELECT $1, id, 'present' FROM shards", both.ID[:])
	var got sharedbase.Imported
	importing := background(func() (err error) {
		got, err = b.ImportShard(t.Context(), "image", "pool", sharedbase.ImageRecord{}, keys(nothing, both, object("own")))
		return err
	})
	for {
		exec(t, conn, "SELECT pg_stat_clear_snapshot(), pg_sleep(0.1)")
		if count(t, conn, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
			AND wait_event_type = 'Lock' AND clock_timestamp() - query_start > interval '11 seconds'`) == 1 {
			break
		}
		select {
		case err := <-importing:
			t.Fatalf("it did not wait: %v", err)
		default:
		}
	}
	exec(t, conn, "COMMIT")
	expect.NoError(t, <-importing)
	if got.Objects != 2 || got.New != 1 {
		t.Errorf("imported %+v", got)
	}
}

func TestImportAbandonedByPython(t *testing.T) {
	b, conn := newBase(t)
	ctx := t.Context()
	exec(t, conn, `INSERT INTO shards (name, state, pool_name, locker, locker_ts)
		VALUES ('image', 'importing', 'pool', gen_random_uuid(), now() - interval '9 minutes')`)
	refused := func(when string) {
		t.Helper()
		if _, err := b.ImportShard(ctx, "image", "pool", sharedbase.ImageRecord{}, keys(nothing)); !errors.Is(err, sharedbase.ErrExists) {
			t.Errorf("an import of Python's that is %s was taken over: %v", when, err)
		}
	}
	refused("young")
	exec(t, conn, "UPDATE shards SET locker_ts = now() - interval '11 minutes'")
	tx := must(conn.Begin(ctx))(t)
	o := object("a")
	if _, err := tx.Exec(ctx, "INSERT INTO signature2shard (signature, state, shard) SELECT $1, 'present', id FROM shards", o.ID[:]); err != nil {
		t.Fatal(err)
	}
	refused("open transactions")
	if err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	got := must(b.ImportShard(ctx, "image", "moved", sharedbase.ImageRecord{}, keys(nothing, objects("a", "b")...)))(t)
	if got.Objects != 2 || got.New != 1 {
		t.Errorf("imported %+v", got)
	}
	if s := must(b.ShardByName(ctx, "image"))(t); s.State != sharedbase.StateReadOnly || s.Pool != "moved" || s.Locker != uuid.Nil {
		t.Errorf("the shard is %+v", s)
	}
}

// What was deleted in a shard that Python began to import stays deleted when the import is completed, and is to be
// erased from the image: also what was deleted once more after it was added to another shard.
func TestImportKeepsDeletions(t *testing.T) {
	b, conn := newBase(t)
	ctx := t.Context()
	deleted, again, elsewhere, kept := object("deleted"), object("deleted again"), object("elsewhere"), object("kept")
	exec(t, conn, `INSERT INTO shards (name, state, pool_name, locker, locker_ts)
		VALUES ('image', 'importing', 'pool', gen_random_uuid(), now() - interval '11 minutes')`)
	for _, o := range []sharedbase.Object{deleted, again, kept} {
		exec(t, conn, "INSERT INTO signature2shard (signature, state, shard) SELECT $1, 'present', id FROM shards", o.ID[:])
	}
	remove := func(o sharedbase.Object) {
		t.Helper()
		expect.NoError(t, b.Delete(ctx, o.ID))
	}
	remove(deleted)
	remove(again)
	other := shardIn(t, b, sharedbase.StateStandby, again, elsewhere)
	remove(again)
	remove(elsewhere) // from another shard: the import brings the object back

	got := must(b.ImportShard(ctx, "image", "pool", sharedbase.ImageRecord{}, keys(nothing, deleted, again, elsewhere, kept)))(t)
	if got.Objects != 4 || got.New != 1 {
		t.Errorf("imported %+v, want 4 objects, 1 of them new", got)
	}
	absent(t, b, deleted)
	absent(t, b, again)
	image := must(b.ShardByName(ctx, "image"))(t)
	for _, o := range []sharedbase.Object{elsewhere, kept} {
		if l := must(b.Locate(ctx, ids(o)))(t); l[0].Shard != "image" {
			t.Errorf("%s is in %+v", o.Content, l[0])
		}
	}
	if n := must(b.CountByState(ctx, image.ID))(t); n != (sharedbase.ObjectCounts{Present: 2, Deleted: 1, Noted: 1}) {
		t.Errorf("the shard has %+v", n)
	}
	erased := deletedIn(t, b, image.ID)
	if !toErase(t, b, image.ID) || len(erased) != 2 || !slices.Contains(erased, deleted.ID) || !slices.Contains(erased, again.ID) {
		t.Errorf("to be erased: %x", erased)
	}
	c := must(b.ClaimImage(ctx, "image"))(t)
	if n := must(c.RecordErased(ctx, erased))(t); n != 2 {
		t.Errorf("%d objects erased", n)
	}
	if marked := deletedIn(t, b, other.ID); !slices.Contains(marked, again.ID) {
		t.Errorf("to be erased from the other shard: %x", marked)
	}
}

// Python reads the state and the index rows that an import made.
func TestPythonSeesImport(t *testing.T) {
	b, conn := newBase(t)
	must(b.ImportShard(t.Context(), "iabc", "pool", sharedbase.ImageRecord{}, keys(nothing, objects("a", "b")...)))(t)
	got := run(t, conn.Config().ConnString(), `
name, state = base.get(oid(b"a"))
print(name.strip(), state.value, base.get_shard_pool("iabc"), base.count_objects("iabc"))`)
	if got != "iabc readonly pool 2" {
		t.Errorf("Python says %q", got)
	}
}

func TestMoveShard(t *testing.T) {
	b, _ := newBase(t)
	ctx := t.Context()
	packed := must(b.ClaimImage(ctx, shardIn(t, b, sharedbase.StatePacked).Name))(t)
	wantState(t, packed.MoveShard(ctx, "other", nil), sharedbase.StatePacked)
	must(b.ImportShard(ctx, "image", "pool", sharedbase.ImageRecord{}, keys(nothing, objects("a", "b")...)))(t)
	must(b.RecordShardMapped(ctx, "host", "pool", "image"))(t)
	if err := b.Delete(ctx, object("a").ID); err != nil {
		t.Fatal(err)
	}
	c := must(b.ClaimImage(ctx, "image"))(t)
	for try := range 2 { // the answer to the first may be lost
		if err := c.MoveShard(ctx, "other", nil); err != nil {
			t.Errorf("try %d: %v", try, err)
		}
	}
	s := must(b.ShardByName(ctx, "image"))(t)
	if s.Pool != "other" || len(s.MappedOn) != 0 || s.State != sharedbase.StateReadOnly {
		t.Errorf("the shard is %+v", s)
	}
	// A claim to the old image is worth nothing for the new one.
	if n, err := c.RecordErased(ctx, ids(object("a"))); !errors.Is(err, sharedbase.ErrLeaseLost) {
		t.Errorf("%d marks went for the old image, %v", n, err)
	}
	if err := errors.Join(c.Release(ctx), c.Release(ctx)); err != nil {
		t.Fatal(err)
	}
	c = must(b.ClaimImage(ctx, "image"))(t)
	if n := must(c.RecordErased(ctx, ids(object("a"))))(t); n != 1 {
		t.Errorf("%d marks went for the new image, want 1", n)
	}
}
