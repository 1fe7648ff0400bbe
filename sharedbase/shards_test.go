// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"bytes"
	"errors"
	"regexp"
	"slices"
	"testing"
	"time"

	"winery/sharedbase"
	"winery/test/expect"
)

func TestShardLookups(t *testing.T) {
	b, _ := newBase(t)
	ctx := t.Context()
	c := must(b.CreateShard(ctx, "pool"))(t)
	if !regexp.MustCompile("^i[0-9a-f]{31}$").MatchString(c.Name()) {
		t.Errorf("a shard's name is %q", c.Name())
	}
	s := must(b.ShardByID(ctx, c.ID()))(t)
	if s.Name != c.Name() || s.State != sharedbase.StateWriting || s.Pool != "pool" || s.Locker == [16]byte{} ||
		time.Since(s.LockedAt).Abs() > time.Hour || len(s.MappedOn) != 0 {
		t.Errorf("the shard is %+v", s)
	}
	if byName := must(b.ShardByName(ctx, c.Name()))(t); byName.ID != s.ID || byName.Locker != s.Locker {
		t.Errorf("by its name the shard is %+v", byName)
	}
	_, byID := b.ShardByID(ctx, 0)
	_, byName := b.ShardByName(ctx, "nosuch")
	_, mapped := b.RecordShardMapped(ctx, "host", "pool", "nosuch")
	for _, err := range []error{byID, byName, mapped} {
		if !errors.Is(err, sharedbase.ErrNotFound) {
			t.Errorf("error %v, want ErrNotFound", err)
		}
	}
	if n := must(b.CountObjects(ctx, "nosuch"))(t); n != 0 {
		t.Errorf("%d objects in a shard that does not exist", n)
	}
}

func TestListShards(t *testing.T) {
	b, conn := newBase(t)
	full, standby := shardIn(t, b, sharedbase.StateFull), shardIn(t, b, sharedbase.StateStandby)
	readonly := shardIn(t, b, sharedbase.StateReadOnly)
	writing := must(b.CreateShard(t.Context(), "other"))(t).ID()
	stale := claim(t, b, full, sharedbase.StatePacking).ID()
	exec(t, conn, "UPDATE shards SET locker_ts = locker_ts - interval '49 hours' WHERE id = $1", stale)
	states := func(s ...sharedbase.ShardState) []sharedbase.ShardState { return s }
	for name, c := range map[string]struct {
		filter sharedbase.ShardFilter
		want   []int64
	}{
		"all":        {sharedbase.ShardFilter{}, []int64{full.ID, standby.ID, readonly.ID, writing}},
		"states":     {sharedbase.ShardFilter{States: states(sharedbase.StateStandby, sharedbase.StateWriting)}, []int64{standby.ID, writing}},
		"pool":       {sharedbase.ShardFilter{Pool: "other"}, []int64{writing}},
		"both":       {sharedbase.ShardFilter{Pool: "pool", States: states(sharedbase.StateWriting)}, nil},
		"stale":      {sharedbase.ShardFilter{LockedFor: 48 * time.Hour}, []int64{stale}},
		"very stale": {sharedbase.ShardFilter{LockedFor: 50 * time.Hour}, nil},
	} {
		var got []int64
		for _, s := range must(b.ListShards(t.Context(), c.filter))(t) {
			got = append(got, s.ID)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestRecordShardMapped(t *testing.T) {
	b, conn := newBase(t)
	ctx := t.Context()
	s := shardIn(t, b, sharedbase.StatePacked)
	exec(t, conn, "BEGIN")
	exec(t, conn, "UPDATE shards SET mapped_on_hosts_when_packed = '{a}'")
	b2 := background(func() error { _, err := b.RecordShardMapped(ctx, "b", s.Pool, s.Name); return err })
	c := background(func() error { _, err := b.RecordShardMapped(ctx, "c", s.Pool, s.Name); return err })
	blocked(t, conn, 2)
	exec(t, conn, "COMMIT")
	if err := errors.Join(<-b2, <-c); err != nil {
		t.Fatal(err)
	}
	hosts := must(b.RecordShardMapped(ctx, "a", s.Pool, s.Name))(t)
	slices.Sort(hosts)
	if !slices.Equal(hosts, []string{"a", "b", "c"}) {
		t.Errorf("hosts %v", hosts)
	}
	_, err := b.RecordShardMapped(ctx, "a", s.Pool, shardIn(t, b, sharedbase.StateFull).Name)
	wantState(t, err, sharedbase.StateFull)
	for _, host := range []string{"a", "d"} {
		if _, err := b.RecordShardMapped(ctx, host, "before", s.Name); !errors.Is(err, sharedbase.ErrMoved) {
			t.Errorf("host %s, which mapped it in another pool: %v", host, err)
		}
	}
	if hosts := must(b.ShardByName(ctx, s.Name))(t).MappedOn; len(hosts) != 3 {
		t.Errorf("hosts %v", hosts)
	}
}

func TestListObjects(t *testing.T) {
	b, conn := newBase(t)
	ctx := t.Context()
	all := objects("a", "b", "c", "d", "e")
	shardIn(t, b, sharedbase.StateFull, all...)
	if err := b.Delete(ctx, all[4].ID); err != nil {
		t.Fatal(err)
	}
	want := ids(all[:4]...)
	slices.SortFunc(want, func(x, y sharedbase.ObjID) int { return bytes.Compare(x[:], y[:]) })
	var got []sharedbase.ObjID
	var after sharedbase.ObjID
	for {
		page := must(b.ListObjects(ctx, after, 3))(t)
		if len(page) == 0 {
			break
		}
		got, after = append(got, page...), page[len(page)-1]
	}
	if !slices.Equal(got, want) {
		t.Errorf("listed %x, want %x", got, want)
	}
	exec(t, conn, "UPDATE signature2shard SET signature = '\\xff' WHERE state = 'present' AND signature = $1", want[0][:])
	if _, err := b.ListObjects(ctx, want[3], 3); err == nil || errors.Is(err, sharedbase.ErrUnavailable) {
		t.Errorf("an id that is none: %v", err)
	}
}

// Lookups stay quick when the table has grown since their plans were made,
// without an ANALYZE, as is always the case for shards' tables.
func TestLookupsUseTheIndex(t *testing.T) {
	b, conn := newBase(t)
	ctx := t.Context()
	c := must(b.LockWritingShard(ctx, "pool"))(t)
	exec(t, conn, "ALTER TABLE signature2shard SET (autovacuum_enabled = off)")
	some := objects("a", "b", "c", "d", "e", "f")
	must(b.Add(ctx, c, some))(t)
	for range 10 {
		must(b.Locate(ctx, ids(some...)))(t)
		contents(t, b, c.Name(), ids(some...))
	}
	exec(t, conn, "INSERT INTO signature2shard SELECT sha256(n::text::bytea), 'present', $1 FROM generate_series(1, 20000) n", c.ID())
	exec(t, conn, "INSERT INTO shard_"+c.Name()+" SELECT sha256(n::text::bytea), '' FROM generate_series(1, 20000) n")
	scans := `SELECT sum(seq_tup_read)::int FROM pg_stat_user_tables WHERE relname IN ('signature2shard', 'shard_' || $1)`
	before := count(t, conn, scans, c.Name())
	for range 10 {
		must(b.Locate(ctx, ids(some...)))(t)
		contents(t, b, c.Name(), ids(some...))
	}
	b.Close() // its backends then report their statistics
	expect.Eventually(t, "the backends to end", func() bool {
		return count(t, conn, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()") == 0
	})
	if after := count(t, conn, scans, c.Name()); after > before {
		t.Errorf("lookups of 12 keys read %d rows one after the other", after-before)
	}
}
