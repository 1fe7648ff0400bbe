// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	osexec "os/exec"
	"slices"
	"strings"
	"testing"

	"winery/sharedbase"
	"winery/test/pgtest"
)

// python prepares a script to be run by the Python that has the Python Winery.
func python(t testing.TB, dsn, script string) *osexec.Cmd {
	t.Helper()
	interpreter := os.Getenv("WINERY_PYTHON")
	if interpreter == "" {
		t.Fatal("WINERY_PYTHON is not set: it must name a Python with swh.objstorage[winery] 7.4.1; `make test` makes one")
	}
	cmd := osexec.CommandContext(t.Context(), interpreter, "-c", prelude+script, dsn)
	// The libpq inside psycopg's binary packages puts words into DSNs that an
	// older psql, which swh.core runs, does not know.
	cmd.Env = append(os.Environ(), "PSYCOPG_IMPL=python")
	return cmd
}

const prelude = `
import hashlib, os, sys
import psycopg.conninfo
from swh.core.db import db_utils
from swh.objstorage.backends.winery.rwshard import RWShard
from swh.objstorage.backends.winery.sharedbase import SharedBase, ShardState
dsn, module = sys.argv[1], "objstorage.backends.winery"
base = SharedBase(dsn, active_pool_name="pool")
def oid(content): return hashlib.sha256(content).digest()
def table(name): return RWShard(name, base_dsn=dsn, shard_max_size=10**9)
def add(*contents):
    with base.pool.connection() as db, db.transaction():
        shards = base.record_new_obj_ids(db, [oid(c) for c in contents])
        own = [(oid(c), c) for c in contents if shards[oid(c)] == base.locked_shard_id]
        return table(base.locked_shard).add_batch(db, own)["object:add"]
def get(content): return table(base.get(oid(content))[0]).get(oid(content))
def delete(content):
    table(base.get(oid(content))[0]).delete(oid(content))
    base.delete(oid(content))
`

func run(t testing.TB, dsn, script string) string {
	t.Helper()
	cmd := python(t, dsn, script)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("Python: %v\n%s", err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// initialise names the password twice: swh.core forgets the one of the DSN.
const initialise = `server = psycopg.conninfo.conninfo_to_dict(dsn)
os.environ["PGPASSWORD"] = server.get("password", "")
db_utils.initialize_database_for_module(module, 5, **server)`

// A database that we made and one that Python made are the same, and each is
// accepted by the other.
func TestPythonSchema(t *testing.T) {
	ours, conn := newBase(t)
	theirsDSN := pgtest.New(t)
	run(t, theirsDSN, initialise)
	pgtest.SameSchema(t, conn.Config().ConnString(), theirsDSN)

	theirs := open(t, theirsDSN)
	ctx := t.Context()
	if created, err := theirs.Init(ctx); created || err != nil {
		t.Errorf("initialising what Python made: %v, %v", created, err)
	}
	if err := theirs.CheckVersion(ctx); err != nil {
		t.Error(err)
	}
	for _, b := range []*sharedbase.SharedBase{ours, theirs} {
		c := must(b.LockWritingShard(ctx, "pool"))(t)
		must(b.Add(ctx, c, objects("content")))(t)
		present(t, b, c.Name(), object("content"))
	}

	dsn := conn.Config().ConnString()
	got1 := run(t, dsn, `
print(db_utils.get_database_info(dsn), db_utils.swh_db_versions(dsn)[0][0])
print(db_utils.populate_database_for_package(module, dsn), db_utils.swh_db_upgrade(dsn, module), SharedBase.current_version)`)
	if want := "('objstorage.backends.winery', 5, None) 5\n(False, 5, None) 5 5"; got1 != want {
		t.Errorf("Python says %q of our database, want %q", got1, want)
	}
	t.Log("interop: schema: Python 7.4.1's and Go's are the same, each accepts the other's: 2 databases")
}

// Both languages add to, read from and delete in the shards of the other.
func TestPythonConcurrently(t *testing.T) {
	b, conn := newBase(t)
	dsn := conn.Config().ConnString()
	ctx := t.Context()
	s := shardIn(t, b, sharedbase.StateStandby, objects("ours", "ours, deleted by Python", "ours, deleted by us")...)
	if err := b.Delete(ctx, object("ours, deleted by us").ID); err != nil {
		t.Fatal(err)
	}
	out := run(t, dsn, `
print(base.locked_shard, add(b"theirs", b"theirs, deleted by us", b"ours"))
assert get(b"ours") == b"ours"
assert base.contains(oid(b"ours, deleted by us")) is None
delete(b"ours, deleted by Python")
print(base.get_shard_state(base.locked_shard).value, base.count_objects(), *sorted(s.hex() for s, *_ in base.deleted_objects("pool")))
base.set_shard_state(ShardState.STANDBY)`)
	deleted := []string{hexID("ours, deleted by us"), hexID("ours, deleted by Python")}
	slices.Sort(deleted)
	if want := s.Name + " 2\nwriting 3 " + strings.Join(deleted, " "); out != want {
		t.Errorf("Python says %q, want %q", out, want)
	}
	present(t, b, s.Name, object("ours"))
	present(t, b, s.Name, object("theirs"))
	absent(t, b, object("ours, deleted by Python"))
	if d := deletedIn(t, b, s.ID); len(d) != 2 {
		t.Errorf("marked deleted: %x", d)
	}

	// On with the same shard: take back what was deleted, delete, and let Python look.
	c := claim(t, b, s, sharedbase.StateWriting)
	if added := must(b.Add(ctx, c, objects("ours, deleted by Python", "theirs")))(t); added.Objects != 1 {
		t.Errorf("added %+v", added)
	}
	if err := errors.Join(b.Delete(ctx, object("theirs, deleted by us").ID), c.SetState(ctx, sharedbase.StateFull)); err != nil {
		t.Fatal(err)
	}
	out = run(t, dsn, `
for c in b"ours", b"ours, deleted by Python", b"theirs":
    assert get(c) == c
assert base.contains(oid(b"theirs, deleted by us")) is None
with base.maybe_lock_one_shard(ShardState.FULL, ShardState.PACKING) as locked:
    base.shard_packing_ends(locked.name)
base.record_shard_mapped("python", locked.name)
print([(name, state.value) for name, state in base.list_shards()])`)
	if want := "[('" + s.Name + "', 'packed')]"; out != want {
		t.Errorf("Python says %q, want %q", out, want)
	}
	if hosts := must(b.RecordShardMapped(ctx, "go", s.Pool, s.Name))(t); !slices.Equal(hosts, []string{"python", "go"}) {
		t.Errorf("hosts %v", hosts)
	}
	t.Log("interop: one shard, written, deleted from, packed and mapped by Python and by us in turn: 5 objects")
}

// Neither gets the shard that the other holds; an operator may take it.
func TestPythonLocks(t *testing.T) {
	b, conn := newBase(t)
	ctx := t.Context()
	first, second := shardIn(t, b, sharedbase.StateStandby), shardIn(t, b, sharedbase.StateStandby)
	cmd := python(t, conn.Config().ConnString(), `
print(base.locked_shard, flush=True)
sys.stdin.read()
base.set_shard_state(ShardState.STANDBY, check_locker=True)`)
	input := must(cmd.StdinPipe())(t)
	output := bufio.NewReader(must(cmd.StdoutPipe())(t))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	locked, err := output.ReadString('\n')
	locked = strings.TrimSpace(locked)
	if err != nil || (locked != first.Name && locked != second.Name) {
		t.Fatalf("Python locked %q: %v\n%s", locked, err, stderr.String())
	}
	c := must(b.LockWritingShard(ctx, "pool"))(t)
	if c.Name() == locked {
		t.Error("both hold the same shard")
	}
	if none := must(b.LockOneShard(ctx, sharedbase.StateStandby, sharedbase.StateWriting, sharedbase.ClaimFilter{}))(t); none != nil {
		t.Errorf("locked %s, which is taken", none.Name())
	}
	if err := b.ReleaseShard(ctx, must(b.ShardByName(ctx, locked))(t)); err != nil {
		t.Error(err)
	}
	mine := must(b.LockWritingShard(ctx, "pool"))(t)
	if mine.Name() != locked {
		t.Errorf("locked %s, want the released %s", mine.Name(), locked)
	}
	_ = input.Close()
	if err := cmd.Wait(); err == nil || !strings.Contains(stderr.String(), "affected 0 rows") {
		t.Errorf("Python released a shard that was not its own: %v\n%s", err, stderr.String())
	}
	must(b.Add(ctx, mine, objects("content")))(t)
	t.Log("interop: locks: neither takes the shard that the other holds, an operator may: 2 shards")
}

func hexID(content string) string {
	id := object(content).ID
	return hex.EncodeToString(id[:])
}
