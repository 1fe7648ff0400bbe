// SPDX-License-Identifier: GPL-3.0-or-later

package ingest_test

import (
	"testing"

	"winery/internal/ingest"
	"winery/sharedbase"
	"winery/test/expect"
)

func (f *fixture) size(shard string) (objects, bytes int64) {
	f.Helper()
	objects, bytes, err := f.base.TableSize(f.Context(), shard)
	f.must(err)
	return objects, bytes
}

func TestFullShardIsHandedOn(t *testing.T) {
	const maxSize = 50_000
	f := newFixture(t)
	w := f.start(ingest.Options{ShardMaxSize: maxSize})
	all := objects(300, 1000, "filling")
	if n, _ := addAll(t, all, w); n != 300 {
		t.Errorf("%d objects were new", n)
	}
	full := f.shards(sharedbase.StateFull)
	if len(full) < 3 || len(full) > 6 {
		t.Errorf("300 kB filled %d shards of 50 to 100 kB", len(full))
	}
	for _, s := range full {
		if _, bytes := f.size(s.Name); bytes < maxSize || bytes >= 2*maxSize {
			t.Errorf("shard %s is full with %d bytes", s.Name, bytes)
		}
		if s.Pool != "shards" {
			t.Errorf("shard %s is in the pool %s", s.Name, s.Pool)
		}
	}
	f.stored(all...)
}

// A shard's image has twice the shard's size. Small objects take more room
// there than in the table, for their index entries.
func TestShardFitsItsImage(t *testing.T) {
	const maxSize = 100_000
	for what, all := range map[string][]sharedbase.Object{
		"tiny objects":        objects(8000, 10, "tiny"),
		"objects of 90 %":     objects(8, maxSize*9/10, "large"),
		"objects of the size": objects(4, maxSize, "full size"),
	} {
		t.Run(what, func(t *testing.T) {
			f := newFixture(t)
			w := f.start(ingest.Options{ShardMaxSize: maxSize})
			for len(all) > 0 {
				n := min(500, len(all))
				f.add(w, all[:n]...)
				all = all[n:]
			}
			for _, s := range f.shards() {
				objects, bytes := f.size(s.Name)
				if image := bytes + 48*objects; image > 2*maxSize {
					t.Errorf("shard %s (%s) has %d objects of %d bytes, an image of %d", s.Name, s.State, objects, bytes, image)
				}
			}
		})
	}
}

// An add that no image of the configured size can hold is stored all the same,
// alone in its shard: a directory pool has no such limit.
func TestAddLargerThanAShard(t *testing.T) {
	f := newFixture(t)
	w := f.start(ingest.Options{ShardMaxSize: 1000, QueueBytes: 2000})
	small, large := object("small"), objects(1, 5000, "large")[0]
	f.add(w, small)
	f.add(w, large)
	// The one that had no room, and that of the large object.
	expect.Eventually(t, "two shards to be full", func() bool { return len(f.shards(sharedbase.StateFull)) == 2 })
	for _, s := range f.shards(sharedbase.StateFull) {
		if objects, _ := f.size(s.Name); objects != 1 {
			t.Errorf("shard %s has %d objects", s.Name, objects)
		}
	}
	f.stored(small, large)
}

func TestShardThatAnEarlierWriterFilled(t *testing.T) {
	f := newFixture(t)
	before := objects(10, 1000, "before")
	earlier := f.start(ingest.Options{})
	f.add(earlier, before...)
	f.must(earlier.Close(t.Context()))
	name := f.shards(sharedbase.StateStandby)[0].Name

	w := f.start(ingest.Options{ShardMaxSize: 10_000})
	expect.Eventually(t, "the shard to be full", func() bool {
		full := f.shards(sharedbase.StateFull)
		return len(full) == 1 && full[0].Name == name
	})
	f.add(w, object("after"))
	if objects, _ := f.size(name); objects != 10 {
		t.Errorf("the full shard has %d objects now", objects)
	}
	f.stored(append(before, object("after"))...)
}

// What is in a standby shard counts.
func TestShardFilledByTwoWriters(t *testing.T) {
	f := newFixture(t)
	for i, kind := range []string{"first", "second"} {
		w := f.start(ingest.Options{ShardMaxSize: 10_000})
		f.add(w, objects(6, 1000, kind)...)
		f.must(w.Close(t.Context()))
		if n := len(f.shards(sharedbase.StateFull)); n != i {
			t.Errorf("after the %s writer %d shards are full", kind, n)
		}
	}
}

// Standby shards of every pool are filled before a new one begins, each to the
// size of its pool.
func TestStandbyShardsOfOtherPools(t *testing.T) {
	f := newFixture(t)
	old, err := f.base.CreateShard(t.Context(), "old")
	f.must(err)
	f.must(old.ReleaseWithTotal(t.Context(), sharedbase.Total{}))
	w := f.start(ingest.Options{ShardMaxSize: 100_000, OtherPools: map[string]int64{"old": 50_000}})
	all := objects(30, 10_000, "pools")
	for _, o := range all {
		f.add(w, o)
	}
	sizes := map[string]int64{}
	for _, s := range f.shards(sharedbase.StateFull) {
		objects, _ := f.size(s.Name)
		sizes[s.Pool] += objects
	}
	if sizes["old"] != 5 || sizes["shards"] != 20 {
		t.Errorf("full shards have %v objects, want 5 of pool old and 20 of pool shards", sizes)
	}
	f.stored(all...)
}
