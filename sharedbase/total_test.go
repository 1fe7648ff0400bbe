// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"testing"

	"winery/sharedbase"
)

// The next writer knows the size of a table if the last writer recorded it and no
// other process had the shard since; otherwise it must count.
func TestTotalOfAStandbyShard(t *testing.T) {
	want := sharedbase.Total{Objects: 3, Bytes: 100}
	python := `UPDATE shards SET state = 'writing', locker = gen_random_uuid(), locker_ts = now();
		UPDATE shards SET state = 'standby', locker = NULL, locker_ts = NULL`
	for what, since := range map[string]struct {
		happens func(t *testing.T, b *sharedbase.SharedBase, sql func(string))
		known   bool
	}{
		"nothing": {func(*testing.T, *sharedbase.SharedBase, func(string)) {}, true},
		"frozen": {func(_ *testing.T, _ *sharedbase.SharedBase, sql func(string)) {
			sql("VACUUM FREEZE shards, winery_total")
		}, true},
		"a writer of Python's": {func(_ *testing.T, _ *sharedbase.SharedBase, sql func(string)) { sql(python) }, false},
		"a writer that did not count": {func(t *testing.T, b *sharedbase.SharedBase, _ func(string)) {
			c := must(b.LockWritingShard(t.Context(), "pool"))(t)
			if err := c.Release(t.Context()); err != nil {
				t.Fatal(err)
			}
		}, false},
		"a lease that ran out": {func(t *testing.T, b *sharedbase.SharedBase, sql func(string)) {
			must(b.LockWritingShard(t.Context(), "pool"))(t)
			sql("UPDATE winery_lease SET expires = now() - interval '1 second'")
			must(b.ReclaimExpired(t.Context()))(t)
		}, false},
	} {
		t.Run(what, func(t *testing.T) {
			b, conn := newBase(t)
			c := must(b.LockWritingShard(t.Context(), "pool"))(t)
			if total, known := c.Total(); !known || total != (sharedbase.Total{}) {
				t.Errorf("a new shard has %+v, known: %v", total, known)
			}
			if err := c.ReleaseWithTotal(t.Context(), want); err != nil {
				t.Fatal(err)
			}
			since.happens(t, b, func(sql string) { exec(t, conn, sql) })
			next := must(b.LockWritingShard(t.Context(), "pool"))(t)
			total, known := next.Total()
			if next.ID() != c.ID() || known != since.known || known && total != want {
				t.Errorf("total %+v, known: %v", total, known)
			}
			if err := next.SetState(t.Context(), sharedbase.StateFull); err != nil {
				t.Fatal(err)
			}
			if n := count(t, conn, "SELECT count(*) FROM winery_total"); n != 0 {
				t.Errorf("%d totals of a full shard", n)
			}
		})
	}
}

// A writer fills the oldest standby shard of all its pools, and makes a new one
// in the first pool only.
func TestLockWritingShardOfAnyPool(t *testing.T) {
	b, _ := newBase(t)
	ctx := t.Context()
	foreign := shardIn(t, b, sharedbase.StateStandby)
	var old []*sharedbase.Claim
	for _, pool := range []string{"old", "active", "old"} {
		old = append(old, must(b.CreateShard(ctx, pool))(t))
	}
	for _, c := range old {
		if err := c.Release(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range old {
		if c := must(b.LockWritingShard(ctx, "active", "old"))(t); c.ID() != want.ID() || c.Pool() != want.Pool() {
			t.Errorf("locked %s of pool %s, want %s of pool %s", c.Name(), c.Pool(), want.Name(), want.Pool())
		}
	}
	if c := must(b.LockWritingShard(ctx, "active", "old"))(t); c.Pool() != "active" || c.ID() == foreign.ID {
		t.Errorf("locked %s of pool %s, want a new one of pool active", c.Name(), c.Pool())
	}
}
