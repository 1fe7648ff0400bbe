// SPDX-License-Identifier: GPL-3.0-or-later

package interop

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"winery/sharedbase"
	"winery/test/fleettest"
	"winery/test/harness"
)

const (
	shardMaxSize = 300_000
	large        = 0 // the number of each tree's large file
)

// newTree makes files of random contents and many sizes, most of them small; the
// first is larger than a shard, and one of tree 0 is empty. Trees of different
// numbers have no content in common.
func newTree(t *testing.T, number int) *harness.Source {
	t.Helper()
	return treeOf(t, number, func(i int) int {
		switch {
		case i == large:
			return 2*shardMaxSize + number
		case i == 1 && number == 0:
			return 0
		default:
			return 16 + i*7919%(1<<(6+i%10))
		}
	}, 200)
}

// treeOf makes files of random contents and the given sizes.
func treeOf(t *testing.T, number int, size func(i int) int, files int) *harness.Source {
	t.Helper()
	root := t.TempDir()
	chance := rand.NewChaCha8([32]byte{byte(number)})
	for i := range files {
		content := make([]byte, size(i))
		_, _ = chance.Read(content)
		if err := os.WriteFile(filepath.Join(root, fmt.Sprint(i)), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tree, err := harness.ReadSource(root)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// some gives n objects of a tree that are not gone. The large one is not among
// them: it has a shard for itself, and Python's packer never ends with a shard
// that is empty.
func some(tree *harness.Source, n int, gone map[[32]byte]bool) map[[32]byte]bool {
	ids := map[[32]byte]bool{}
	for id, path := range tree.Paths {
		if len(ids) == n {
			break
		}
		if !gone[id] && filepath.Base(path) != fmt.Sprint(large) {
			ids[id] = true
		}
	}
	return ids
}

// states counts a fleet's shards.
func states(ctx context.Context, t *testing.T, f *harness.Fleet) map[sharedbase.ShardState]int {
	t.Helper()
	shards, err := f.Base.ListShards(ctx, sharedbase.ShardFilter{})
	if err != nil {
		t.Fatal(err)
	}
	count := map[sharedbase.ShardState]int{}
	for _, s := range shards {
		count[s.State]++
	}
	return count
}

// One Winery creates a database and leaves shards in every state without a lock,
// with objects deleted in each. The other takes over and continues with all of
// them. Both must agree on every object.
func TestDatabaseHandedOver(t *testing.T) {
	t.Run("Python to Go", func(t *testing.T) {
		o := fleettest.Options(t)
		python(t.Context(), t, "testdata/winery.py", "init", o.DSN)
		o.ShardMaxSize = shardMaxSize
		f := fleettest.New(t, o)
		handOver(t, f, inPython{f}, inGo{f}, "database by Python 7.4.1 → our writer, packer, mapper, cleaner")
	})
	t.Run("Go to Python", func(t *testing.T) {
		o := fleettest.Options(t)
		o.ShardMaxSize = shardMaxSize
		f := fleettest.New(t, o)
		handOver(t, f, inGo{f}, inPython{f}, "database by wineryctl → Python WineryObjStorage, packer, mapper, cleaners")
	})
}

func handOver(t *testing.T, f *harness.Fleet, first, second winery, what string) {
	ctx := fleettest.Within(t)
	cleaned, packed, full, added := newTree(t, 0), newTree(t, 1), newTree(t, 2), newTree(t, 3)
	standby := treeOf(t, 4, func(int) int { return 10 }, 1)
	gone := map[[32]byte]bool{}
	deleteSome := func(w winery, trees ...*harness.Source) {
		ids := map[[32]byte]bool{}
		for _, tree := range trees {
			maps.Copy(ids, some(tree, 10, gone))
		}
		w.delete(ctx, t, ids)
		maps.Copy(gone, ids)
	}

	first.add(ctx, t, cleaned)
	first.pack(ctx, t)
	first.clean(ctx, t)
	first.add(ctx, t, packed)
	first.pack(ctx, t)
	first.add(ctx, t, full)
	first.add(ctx, t, standby)
	deleteSome(first, cleaned, packed, full)
	// Python's cleaner fails if no image has the object to erase. So Go Winery's
	// cleaner first removes the objects that were deleted in tables, whichever
	// Winery continues.
	fleettest.RunToEnd(ctx, t, f, harness.Cleaner)
	before := states(ctx, t, f)
	for _, state := range []sharedbase.ShardState{
		sharedbase.StateReadOnly, sharedbase.StatePacked, sharedbase.StateFull, sharedbase.StateStandby,
	} {
		if before[state] == 0 {
			t.Errorf("no shard is %s: %v", state, before)
		}
	}

	for _, tree := range []*harness.Source{cleaned, packed, full, standby} {
		second.compare(ctx, t, tree, gone)
	}
	second.add(ctx, t, added)
	deleteSome(second, cleaned, packed)
	second.pack(ctx, t)
	second.clean(ctx, t)
	inImages := inPython{f}.number(ctx, t, "erased", list(gone))
	deleteSome(second, full, added)

	after := states(ctx, t, f)
	if after[sharedbase.StateReadOnly]+after[sharedbase.StateStandby] != total(after) {
		t.Errorf("shards are left over: %v", after)
	}
	objects := 0
	for _, tree := range []*harness.Source{cleaned, packed, full, standby, added} {
		n := first.compare(ctx, t, tree, gone)
		if again := second.compare(ctx, t, tree, gone); again != n {
			t.Errorf("%d and %d objects were compared", n, again)
		}
		objects += n
	}
	paired(t, "%s: %d objects equal through both, %d deleted by either, %d in %d images, %d shards taken over",
		what, objects, len(gone), inImages, after[sharedbase.StateReadOnly], total(before))
}

func total(count map[sharedbase.ShardState]int) (n int) {
	for _, c := range count {
		n += c
	}
	return n
}
