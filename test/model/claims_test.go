// SPDX-License-Identifier: GPL-3.0-or-later

package model

import (
	"cmp"
	"slices"

	"pgregory.net/rapid"

	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/pgtest"
)

// Reclaim takes the shards of the dead from them, once their leases ran out.
func (w *world) Reclaim(*rapid.T) {
	w.stopWriter() // the only live process that holds a shard
	locked := w.locked()
	if back, err := w.base.ReclaimExpired(w.Context()); err != nil || len(back) > 0 {
		w.Fatalf("reclaimed before its time: %v, %v", back, err)
	}
	for _, table := range []string{"winery_lease", "winery_image_lease"} {
		pgtest.Exec(w, w.dsn, "UPDATE "+table+" SET expires = clock_timestamp() - interval '1 second'")
	}
	back, err := w.base.ReclaimExpired(w.Context())
	expect.NoError(w, err)
	slices.SortFunc(back, func(a, b sharedbase.Reclaimed) int { return cmp.Compare(a.Shard.ID, b.Shard.ID) })
	if !slices.EqualFunc(locked, back, func(s sharedbase.Shard, r sharedbase.Reclaimed) bool {
		origin, _ := s.State.Origin()
		return r.Shard.ID == s.ID && r.Was == s.State && r.Shard.State == origin
	}) || len(w.locked()) > 0 {
		w.Fatalf("locked were %v, reclaimed %v, locked are %v", locked, back, w.locked())
	}
}

// Zombie lets a holder of a shard continue after it has lost the shard, and
// perhaps another process has it.
func (w *world) Zombie(t *rapid.T) {
	w.Reclaim(t)
	from := rapid.SampledFrom([]sharedbase.ShardState{
		sharedbase.StateStandby, sharedbase.StateFull, sharedbase.StatePacked,
	}).Draw(t, "state")
	shards := w.shards(from)
	if len(shards) == 0 {
		t.Skip("no such shard")
	}
	shard := shards[rapid.IntRange(0, len(shards)-1).Draw(t, "shard")]
	lock := func() *sharedbase.Claim {
		claim, err := w.base.LockOneShard(t.Context(), from, held[from].locked, sharedbase.ClaimFilter{Name: shard.Name})
		expect.NoError(w, err)
		if claim == nil {
			w.Fatalf("shard %s is %s, and cannot be locked", shard.Name, from)
		}
		return claim
	}
	old := lock()
	w.Reclaim(t)
	var other *sharedbase.Claim
	if rapid.Bool().Draw(t, "given to another") {
		other = lock()
	}
	before := w.shards()
	if _, err := w.base.Add(t.Context(), old, universe); err == nil {
		w.Fatal("it added objects")
	}
	if err := held[from].done(old, t); err == nil {
		w.Fatal("it moved the shard on")
	}
	_ = old.Release(t.Context()) // it need not know that it had nothing to release
	if after := w.shards(); !slices.EqualFunc(before, after, sameShard) {
		w.Fatalf("it changed something:\n%v\n%v", before, after)
	}
	if other != nil {
		expect.NoError(w, other.Release(t.Context()))
	}
}

func sameShard(a, b sharedbase.Shard) bool {
	return a.ID == b.ID && a.State == b.State && a.Locker == b.Locker && a.Pool == b.Pool && slices.Equal(a.MappedOn, b.MappedOn)
}

// held says, of the states that a shard is locked from, how it is locked, and
// how a holder moves it on.
var held = map[sharedbase.ShardState]struct {
	locked sharedbase.ShardState
	done   func(*sharedbase.Claim, *rapid.T) error
}{
	sharedbase.StateStandby: {sharedbase.StateWriting, func(c *sharedbase.Claim, t *rapid.T) error {
		return c.SetState(t.Context(), sharedbase.StateFull)
	}},
	sharedbase.StateFull: {sharedbase.StatePacking, func(c *sharedbase.Claim, t *rapid.T) error {
		return c.Packed(t.Context(), sharedbase.ImageRecord{})
	}},
	sharedbase.StatePacked: {sharedbase.StateCleaning, func(c *sharedbase.Claim, t *rapid.T) error {
		return c.DropTable(t.Context())
	}},
}
