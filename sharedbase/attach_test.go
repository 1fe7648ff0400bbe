// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"net/url"
	"strings"
	"testing"

	"winery/sharedbase"
	"winery/test/pgtest"
)

// detached is a database as Python makes it: without what is ours.
func detached(t testing.TB) string {
	t.Helper()
	dsn := pgtest.New(t)
	must(open(t, dsn).Init(t.Context()))(t)
	exec(t, connect(t, dsn), `DROP FUNCTION winery_note_erasure CASCADE; DO $$ DECLARE name text; BEGIN
		FOR name IN SELECT relname FROM pg_class WHERE relkind = 'r' AND relname LIKE 'winery\_%' LOOP
			EXECUTE 'DROP TABLE ' || name || ' CASCADE';
		END LOOP; END $$`)
	return dsn
}

// stranger is a role of the server's that may only read what PUBLIC may, and
// the DSN by which it comes.
func stranger(t testing.TB, dsn, grant string) string {
	t.Helper()
	owner := connect(t, dsn)
	u := must(url.Parse(dsn))(t)
	name := "stranger_" + strings.TrimPrefix(u.Path, "/")
	exec(t, owner, "CREATE ROLE "+name+" LOGIN; GRANT "+grant+" TO "+name)
	t.Cleanup(func() { exec(t, owner, "DROP OWNED BY "+name+"; DROP ROLE "+name) })
	u.User = url.User(name)
	return u.String()
}

// Many roles that start at once on a database of Python's make the tables once.
func TestAttach(t *testing.T) {
	dsn := detached(t)
	const n = 6
	results := make(chan error, n)
	for range n {
		b := open(t, dsn)
		go func() { results <- b.Attach(t.Context()) }()
	}
	for range n {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	b := open(t, dsn)
	if c := must(b.LockWritingShard(t.Context(), "pool"))(t); c == nil {
		t.Error("no claim")
	}
}

// Whoever lacks the right is told what to do.
func TestAttachRefused(t *testing.T) {
	dsn := detached(t)
	err := open(t, stranger(t, dsn, "SELECT ON ALL TABLES IN SCHEMA public")).Attach(t.Context())
	if err == nil || !strings.Contains(err.Error(), "permission denied") || !strings.Contains(err.Error(), "wineryctl db init") {
		t.Fatalf("attached without the right to: %v", err)
	}
}

// Python's user may not write what is ours: the note of an erasure is made all
// the same when it adds a deleted object again.
func TestErasureNotedForOthers(t *testing.T) {
	dsn := pgtest.New(t)
	b := open(t, dsn)
	must(b.Init(t.Context()))(t)
	s := shardIn(t, b, sharedbase.StatePacked, object("again"))
	if err := b.Delete(t.Context(), object("again").ID); err != nil {
		t.Fatal(err)
	}
	other := shardIn(t, b, sharedbase.StateStandby)
	python := connect(t, stranger(t, dsn, "SELECT, UPDATE ON signature2shard, shards"))
	exec(t, python, "UPDATE signature2shard SET state = 'present', shard = $1 WHERE signature = $2",
		other.ID, ids(object("again"))[0][:])
	if d := deletedIn(t, b, s.ID); len(d) != 1 {
		t.Errorf("to be erased in the first shard: %x", d)
	}
	if at := must(b.Locate(t.Context(), ids(object("again"))))(t); at[0].ShardID != other.ID {
		t.Errorf("the index has the object at %+v", at)
	}
}
