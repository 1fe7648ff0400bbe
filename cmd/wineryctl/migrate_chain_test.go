// SPDX-License-Identifier: GPL-3.0-or-later

package main_test

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"

	"winery/format"
	"winery/pool/pooltest"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/roletest"
)

// TestMigrateChain migrates images from Ceph to mosaics, back to Ceph, and to S3, by
// several workers at once. Before each migration an object of each image is deleted
// and erased, and another one is deleted and not erased.
func TestMigrateChain(t *testing.T) {
	first, last := roletest.RBD(t), roletest.RBD(t)
	mosaics, far := roletest.Mosaic(t), roletest.S3(t)
	var shards [][]sharedbase.Object
	for i := range 5 {
		shards = append(shards, roletest.Objects(uint64(10+i), 120, 20_000)[min(i, 1):]) // the empty object is in one of them
	}
	names := pack(t, first, shards...)
	s := newSite(t, first, mosaics, last, far)
	pools := []string{first.Name, mosaics.Name, last.Name, far.Name}
	s.must(t, "db", "init")
	s.must(t, "shards", "import", "--workers", "3", "--rate", "500")

	left := slices.Clone(shards)
	var gone []format.ObjID
	remove := func(objects *[]sharedbase.Object) {
		id := (*objects)[len(*objects)/2].ID
		expect.NoError(t, s.base.Delete(t.Context(), id))
		*objects = slices.DeleteFunc(slices.Clone(*objects), func(o sharedbase.Object) bool { return o.ID == id })
		gone = append(gone, id)
	}
	for i := range pools[1:] {
		from, to := pools[i], pools[i+1]
		for shard := range left {
			remove(&left[shard])
		}
		s.must(t, "objects", "clean-deleted")
		for shard := range left {
			remove(&left[shard])
		}

		_, plan, status := ctl(t, "--config", s.config, "shards", "migrate", from, to, "--dry-run", "--rate", "1")
		if want := `^5 images would be migrated: \S+ MB of objects; the copies take at most \S+ MB, (pool ` + to + ` has .* free|the store of pool ` + to + ` has no limit that can be asked for); ` +
			`reading originals and copies at 1 MB/s takes about \d+s\n`; status != 0 || !regexp.MustCompile(want).MatchString(plan) {
			t.Errorf("status %d, %s", status, plan)
		}
		if images, err := s.pools[to].List(t.Context()); err != nil || len(images) > 0 {
			t.Fatalf("the dry run made %v, %v", images, err)
		}
		rows := s.rows(t, "shards", "migrate", from, to, "--workers", "4", "--rate", "500")
		for _, row := range rows {
			if row["copied"] != true || row["recorded"] != true {
				t.Errorf("%v", row)
			}
		}
		if len(rows) != len(names) {
			t.Errorf("%d images were migrated", len(rows))
		}
		for _, name := range names {
			expect.NoError(t, s.pools[from].Remove(t.Context(), name, pooltest.Anything{}))
		}
		s.wantObjects(t, slices.Concat(left...))
		for _, id := range gone {
			if at, err := s.base.Locate(t.Context(), []sharedbase.ObjID{id}); err != nil || at[0].ShardID != 0 {
				t.Errorf("deleted object %x is at %v, %v", id, at, err)
			}
		}
	}
	s.must(t, "objects", "clean-deleted")
	if stdout, stderr, status := ctl(t, "--config", s.config, "verify", "--workers", "4"); status != 0 || strings.Count(stdout, " objects are intact") != 5 {
		t.Errorf("verify: status %d, %s%s", status, stdout, stderr)
	}
	for i, name := range names {
		img, err := s.pools[far.Name].Open(t.Context(), name)
		expect.NoError(t, err)
		r, err := s.pools[far.Name].Format().Open(img, img.Size(), name)
		expect.NoError(t, err)
		for _, id := range gone {
			if _, _, err := r.GetUpTo(id, -1); !errors.Is(err, format.ErrNotFound) {
				t.Errorf("image %s has a deleted object: %v", name, err)
			}
		}
		if found, err := r.Verify(t.Context(), nil); err != nil || found.Objects != int64(len(left[i])) {
			t.Errorf("image %s: %+v, %v, want %d objects", name, found, err, len(left[i]))
		}
		expect.NoError(t, img.Close())
	}
	t.Logf("%d shards went through %s; %d objects were deleted on the way, %d are there", len(names), strings.Join(pools, " → "), len(gone), len(slices.Concat(left...)))
}
