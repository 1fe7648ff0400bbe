// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/pgtest"
)

// detached is a database as Python creates it: without the tables winery_*.
func detached(t testing.TB) string {
	t.Helper()
	dsn := pgtest.New(t)
	must(open(t, dsn).Init(t.Context()))(t)
	exec(t, connect(t, dsn), `DROP FUNCTION winery_note_erasure, winery_note_state, winery_create_table, winery_drop_table, winery_drop_adopted_table CASCADE; DO $$ DECLARE name text; BEGIN
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
	exec(t, owner, "CREATE ROLE "+name+" LOGIN PASSWORD '"+name+"'; GRANT "+grant+" TO "+name)
	t.Cleanup(func() { exec(t, owner, "DROP OWNED BY "+name+"; DROP ROLE "+name) })
	u.User = url.UserPassword(name, name)
	return u.String()
}

// owning is a role that owns the tables, and is no superuser: the DSN by which it comes, and
// its name.
func owning(t testing.TB, dsn string) (as, name string) {
	t.Helper()
	as = stranger(t, dsn, "ALL ON SCHEMA public")
	name = "stranger_" + must(pgx.ParseConfig(dsn))(t).Database
	exec(t, connect(t, dsn), `DO $$ DECLARE name text; BEGIN
		FOR name IN SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace LOOP
			EXECUTE 'ALTER TABLE ' || name || ' OWNER TO `+name+`';
		END LOOP; END $$`)
	return as, name
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

// A user without the right gets an error that says what to do.
func TestAttachRefused(t *testing.T) {
	dsn := detached(t)
	err := open(t, stranger(t, dsn, "SELECT ON ALL TABLES IN SCHEMA public")).Attach(t.Context())
	if !errors.Is(err, sharedbase.ErrNotAttached) || !strings.Contains(err.Error(), "permission denied") || !strings.Contains(err.Error(), "wineryctl db init") {
		t.Fatalf("attached without the right to: %v", err)
	}
}

// If the tables exist, no role needs the right to create tables: a packer, for
// example.
func TestAttachWithoutCreate(t *testing.T) {
	dsn := pgtest.New(t)
	owner := open(t, dsn)
	must(owner.Init(t.Context()))(t)
	s := shardIn(t, owner, sharedbase.StateFull, object("packed"))
	b := open(t, stranger(t, dsn, "SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public"))
	if err := b.Attach(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := claim(t, b, s, sharedbase.StatePacking).Packed(t.Context(), sharedbase.ImageRecord{Objects: 1}); err != nil {
		t.Error(err)
	}
}

// TestAttachForAnother: where another user than the owner of Python's tables attaches
// Go Winery, the owner still makes and drops the tables of shards, and owns them.
func TestAttachForAnother(t *testing.T) {
	dsn := detached(t)
	python, owner := owning(t, dsn)
	expect.NoError(t, open(t, dsn).Attach(t.Context()))
	wantOwner(t, dsn, owner)
	s := shardIn(t, open(t, python), sharedbase.StatePacked, object("packed"))
	if n := count(t, connect(t, dsn), "SELECT count(*) FROM pg_tables WHERE tablename = $1 AND tableowner = $2", "shard_"+s.Name, owner); n != 1 {
		t.Errorf("%s does not own the table of a new shard", owner)
	}
	expect.NoError(t, claim(t, open(t, python), s, sharedbase.StateCleaning).DropTable(t.Context()))
}

// wantOwner fails the test unless a user owns all that Attach makes.
func wantOwner(t *testing.T, dsn, owner string) {
	t.Helper()
	others := count(t, connect(t, dsn), `SELECT (SELECT count(*) FROM pg_class WHERE relname LIKE 'winery\_%' AND relowner <> $1::regrole)
		+ (SELECT count(*) FROM pg_proc WHERE proname LIKE 'winery\_%' AND proowner <> $1::regrole)`, owner)
	if others > 0 {
		t.Errorf("%s does not own %d of the tables and functions", owner, others)
	}
}

// TestAttachByMember: the mapper's user root, a member of the owner, may be the first that
// attaches a new version. The roles that are the owner can use it.
func TestAttachByMember(t *testing.T) {
	dsn := detached(t)
	owner, name := owning(t, dsn)
	admin := connect(t, dsn)
	member := must(url.Parse(dsn))(t)
	member.User = url.UserPassword("member_"+name, "member")
	exec(t, admin, "CREATE ROLE member_"+name+" LOGIN PASSWORD 'member' IN ROLE "+name)
	t.Cleanup(func() { exec(t, admin, "DROP ROLE member_"+name) })
	expect.NoError(t, open(t, member.String()).Attach(t.Context()))
	wantOwner(t, dsn, name)
	b := open(t, owner)
	expect.NoError(t, b.CheckAttached(t.Context()))
	expect.NoError(t, must(b.LockWritingShard(t.Context(), "pool"))(t).Release(t.Context()))
}

// A command that only reads creates no tables, and does not wait: a database of Python Winery counts as one with
// empty tables winery_*.
func TestReadingMakesNothing(t *testing.T) {
	dsn := detached(t)
	writer := connect(t, dsn)
	exec(t, writer, "INSERT INTO shards (name, state, pool_name) VALUES ('i', 'full', 'pool')")
	exec(t, writer, "BEGIN")
	exec(t, writer, "INSERT INTO signature2shard (signature, shard) VALUES ('x', 1)")
	b, ctx := open(t, dsn+"?default_transaction_read_only=on"), t.Context()
	if err := b.CheckVersion(ctx); err != nil {
		t.Error(err)
	}
	if n := len(must(b.ListShards(ctx, sharedbase.ShardFilter{}))(t)); n != 1 {
		t.Errorf("%d shards", n)
	}
	if n := len(must(b.Leases(ctx))(t)) + len(must(b.QuarantinedShards(ctx))(t)); n != 0 {
		t.Errorf("%d leases and quarantined shards", n)
	}
	if _, found, err := b.ImageRecord(ctx, 1); found || err != nil {
		t.Errorf("record of an image: %v, %v", found, err)
	}
	if is := must(b.ObjectStatuses(ctx, 1, ids(object("x"))))(t); is[0] != (sharedbase.ObjectStatus{}) {
		t.Errorf("an object is %+v", is[0])
	}
	if err := b.CheckAttached(ctx); !errors.Is(err, sharedbase.ErrNotAttached) {
		t.Errorf("CheckAttached: %v, want ErrNotAttached", err)
	}
	if _, err := b.LockOneShard(ctx, sharedbase.StateFull, sharedbase.StatePacking, sharedbase.ClaimFilter{}); !errors.Is(err, sharedbase.ErrNotAttached) {
		t.Errorf("LockOneShard: %v, want ErrNotAttached", err)
	}
	// A role makes them, and gives up soon where others work in the index.
	if err := open(t, dsn).Attach(ctx); !errors.Is(err, sharedbase.ErrUnavailable) || errors.Is(err, sharedbase.ErrNotAttached) {
		t.Errorf("Attach: %v, want ErrUnavailable", err)
	}
}

// Python's user has no right to write the tables winery_*: the note of an erasure
// is still made when Python adds a deleted object again.
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

// A table, a type or a function of the session's own does not divert the note, and no user can create notes by
// another trigger.
func TestErasureNotCaught(t *testing.T) {
	dsn := pgtest.New(t)
	b := open(t, dsn)
	must(b.Init(t.Context()))(t)
	s := shardIn(t, b, sharedbase.StatePacked, object("again"))
	if err := b.Delete(t.Context(), object("again").ID); err != nil {
		t.Fatal(err)
	}
	other := shardIn(t, b, sharedbase.StateStandby)
	attacker := connect(t, stranger(t, dsn, "SELECT, UPDATE ON signature2shard, shards"))
	exec(t, attacker, `CREATE TEMPORARY TABLE winery_erasure (shard bigint, signature bytea, PRIMARY KEY (shard, signature));
		CREATE TEMPORARY TABLE notes (shard bigint, signature bytea);
		GRANT ALL ON pg_temp.winery_erasure TO PUBLIC`)
	if _, err := attacker.Exec(t.Context(), `CREATE TRIGGER note AFTER UPDATE ON notes FOR EACH ROW EXECUTE FUNCTION winery_note_erasure()`); code(err) != "42501" {
		t.Errorf("a trigger of another's: %v, want permission denied", err)
	}
	exec(t, attacker, "UPDATE signature2shard SET state = 'present', shard = $1 WHERE signature = $2", other.ID, ids(object("again"))[0][:])
	if noted := deletedIn(t, b, s.ID); len(noted) != 1 {
		t.Errorf("to be erased in the first shard: %x", noted)
	}
}
