// SPDX-License-Identifier: GPL-3.0-or-later

package scrub_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"winery/format"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/roletest"
)

// A readonly shard's image is restored in place from another pool.
func TestRepairFromAnotherPool(t *testing.T) {
	roletest.EachStore(t, func(t *testing.T, s *roletest.Stage) {
		objects := roletest.Objects(1, 300, 20_000)
		name := readonly(t, s, objects)
		another(t, s, name)
		entry, position := at(t, s, name, objects[100].ID)
		_, position2 := at(t, s, name, objects[200].ID)
		hash := s.SWHShard(t, name).Layout().HashPosition
		// Deleted and erased here, in the copy still.
		expect.NoError(t, s.Base.Delete(t.Context(), objects[7].ID))
		clean(t, s)
		there := slices.Concat(objects[:7], objects[8:])
		for what, test := range map[string]struct {
			at   []int64
			says string
		}{
			"content":     {[]int64{position + 9}, "restored 1 objects from pool other"},
			"length":      {[]int64{position}, "restored 1 objects from pool other"},
			"key":         {[]int64{entry}, "restored 1 objects from pool other"},
			"position":    {[]int64{entry + 39}, "restored 1 objects from pool other"},
			"two objects": {[]int64{position + 9, position2 + 9}, "restored 2 objects from pool other"},
			"header":      {[]int64{3}, "restored header and hash function from pool other"},
			"hash":        {[]int64{hash + 3}, "restored header and hash function from pool other"},
			"all":         {[]int64{3, hash + 3, entry, position2 + 9}, "function from pool other; restored 2 objects from pool other; unquarantined"},
		} {
			t.Run(what, func(t *testing.T) {
				quarantine(t, s, name)
				for _, at := range test.at {
					s.FlipBit(t, name, at)
				}
				repairs(t, s, name, test.says)
				s.WantObjects(t, name, there)
				wantQuarantined(t, s, name, false)
				if _, err := s.Image(t, name).Get(objects[7].ID); !errors.Is(err, format.ErrNotFound) {
					t.Errorf("an erased object came back: %v", err)
				}
			})
		}
	})
}

// An object that is deleted and erased after the scrub, before the repair has the image
// to itself, does not come back.
func TestRestoreDeletedSince(t *testing.T) {
	roletest.EachKind(t, func(t *testing.T, s *roletest.Stage) {
		objects := roletest.Objects(1, 100, 5000)
		name := readonly(t, s, objects)
		copied := &roletest.Hooked{Pool: another(t, s, name)}
		s.Pools["other"] = copied
		for _, i := range []int{50, 60} {
			_, position := at(t, s, name, objects[i].ID)
			s.FlipBit(t, name, position+9)
		}
		var once sync.Once
		copied.At = func(point roletest.Point, _ string) error {
			if point == roletest.Open { // what is to be restored is known, and not yet claimed
				once.Do(func() {
					expect.NoError(t, s.Base.Delete(t.Context(), objects[50].ID))
					clean(t, s)
				})
			}
			return nil
		}
		s.Pool.At = func(point roletest.Point, _ string) error {
			if point == roletest.Erase && deleted(t, s, name) == 0 { // the repair has the image to itself
				if _, err := s.Base.ClaimImage(t.Context(), name); !errors.Is(err, sharedbase.ErrImageClaimed) {
					t.Errorf("claimed while the image is repaired: %v", err)
				}
			}
			return nil
		}
		r, err := scrubber(s).Repair(t.Context(), name, false)
		expect.NoError(t, err)
		if len(r.Done) != 1 || !strings.Contains(r.Done[0], "restored 1 objects") {
			t.Errorf("%q", r.Done)
		}
		if _, err := s.Image(t, name).Get(objects[50].ID); !errors.Is(err, format.ErrNotFound) {
			t.Errorf("the deleted object: %v", err)
		}
		s.WantObjects(t, name, slices.Concat(objects[:50], objects[51:]))
		if left := deleted(t, s, name); left != 0 {
			t.Errorf("%d objects are marked", left)
		}
	})
}

// An object that is deleted while it is restored is erased again afterwards: its mark
// stays as long as the repair has the image.
func TestDeletedWhileRestored(t *testing.T) {
	roletest.EachKind(t, func(t *testing.T, s *roletest.Stage) {
		objects := roletest.Objects(1, 100, 5000)
		name := readonly(t, s, objects)
		another(t, s, name)
		_, position := at(t, s, name, objects[50].ID)
		s.FlipBit(t, name, position+9)
		var once sync.Once
		s.Pool.At = func(point roletest.Point, _ string) error {
			if point == roletest.Erase { // the first write of the repair
				once.Do(func() {
					expect.NoError(t, s.Base.Delete(t.Context(), objects[50].ID))
					clean(t, s)
				})
			}
			return nil
		}
		_, err := scrubber(s).Repair(t.Context(), name, false)
		expect.NoError(t, err)
		s.Pool.At = nil
		if left := deleted(t, s, name); left != 1 {
			t.Errorf("%d objects are marked, want 1", left)
		}
		clean(t, s)
		if _, err := s.Image(t, name).Get(objects[50].ID); !errors.Is(err, format.ErrNotFound) {
			t.Errorf("the deleted object: %v", err)
		}
		finds(t, s, name)
	})
}

// deleted is how many objects are to be erased from a shard's image.
func deleted(t testing.TB, s *roletest.Stage, name string) int {
	t.Helper()
	ids, err := s.Base.DeletedObjects(t.Context(), s.Shard(t, name).ID, 1000)
	expect.NoError(t, err)
	return len(ids)
}
