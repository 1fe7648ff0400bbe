// SPDX-License-Identifier: GPL-3.0-or-later

package scrub_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"winery/format"
	"winery/internal/cleaner"
	"winery/internal/config"
	"winery/internal/scrub"
	"winery/internal/storage"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/roletest"
)

// pythonMoves moves a readonly shard to another pool as Python's migrate-pool does: it
// writes an image of its own, names its pool in the row of the shard, and leaves the
// first image and its record as they are. It returns a stage with the other pool.
func pythonMoves(t testing.TB, s *roletest.Stage, to config.Pool, name string, objects []sharedbase.Object) *roletest.Stage {
	t.Helper()
	to.Name = "moved"
	moved := *s
	moved.Config, moved.Pool = to, &roletest.Hooked{Pool: roletest.OpenPools(t, true, to)[to.Name]}
	moved.Pools = storage.Set{s.Config.Name: s.Pool, to.Name: moved.Pool}
	objects = slices.Clone(objects)
	slices.Reverse(objects)
	roletest.Put(t, moved.Pool.Pool, name, objects)
	for moved.Image(t, name).Fingerprint() == record(t, s, name).Fingerprint { // libcmph seeds its functions at random
		roletest.Put(t, moved.Pool.Pool, name, objects)
	}
	psql(t, s, fmt.Sprintf("UPDATE shards SET pool_name = '%s' WHERE name = '%s'", to.Name, name))
	return &moved
}

// eachMove runs a test for a shard that Python moved, with each type of pool as the
// first one, and both formats in the other one.
func eachMove(t *testing.T, test func(t *testing.T, s *roletest.Stage, to config.Pool)) {
	for kind, to := range map[string]func(testing.TB) config.Pool{
		"SWHShard": func(t testing.TB) config.Pool { return roletest.Directory(t, "") }, "Mosaic": roletest.Mosaic,
	} {
		t.Run("to "+kind, func(t *testing.T) {
			roletest.EachKind(t, func(t *testing.T, s *roletest.Stage) { test(t, s, to(t)) })
		})
	}
}

// content is all of an image.
func content(t testing.TB, s *roletest.Stage, name string) []byte {
	t.Helper()
	img, err := s.Pool.Pool.Open(t.Context(), name)
	expect.NoError(t, err)
	all := make([]byte, s.Image(t, name).Info().Size)
	_, err = img.ReadAt(all, 0)
	expect.NoError(t, errors.Join(err, img.Close()))
	return all
}

func record(t testing.TB, s *roletest.Stage, name string) sharedbase.ImageRecord {
	t.Helper()
	r, _, err := s.Base.ImageRecord(t.Context(), s.Shard(t, name).ID)
	expect.NoError(t, err)
	return r
}

// TestRecordRenewed: after Python moved a shard, its whole image in the other pool differs
// from the record, and no deleted object is erased there. A repair writes nothing to the
// image, and records it.
func TestRecordRenewed(t *testing.T) {
	eachMove(t, func(t *testing.T, s *roletest.Stage, to config.Pool) {
		objects := roletest.Objects(1, 300, 3000)
		name := readonly(t, s, objects)
		moved := pythonMoves(t, s, to, name, objects)
		expect.NoError(t, s.Base.Delete(t.Context(), objects[9].ID))
		_, err := cleaner.New(cleaner.Options{Base: s.Base, Pools: moved.Pools, Log: s.Log}).EraseDeleted(t.Context())
		if !errors.Is(err, sharedbase.ErrOtherImage) {
			t.Fatal(err)
		}
		wantQuarantined(t, s, name, true)
		finds(t, moved, name, finding{kind: scrub.RecordDiffers})
		first, before := content(t, s, name), content(t, moved, name)
		repairs(t, moved, name, "recorded")
		if !bytes.Equal(content(t, moved, name), before) || !bytes.Equal(content(t, s, name), first) {
			t.Error("the repair changed an image")
		}
		if got, r := record(t, s, name), moved.Image(t, name); got.Fingerprint != r.Fingerprint() || got.Objects != 300 || got.Bytes != r.Info().ContentSize {
			t.Errorf("recorded are %d objects of %d bytes, %x", got.Objects, got.Bytes, got.Fingerprint)
		}
		wantQuarantined(t, s, name, false)
		clean(t, moved)
		if n := deleted(t, s, name); n != 0 {
			t.Errorf("%d objects are not erased", n)
		}
		if _, err := moved.Image(t, name).Get(objects[9].ID); !errors.Is(err, format.ErrNotFound) {
			t.Errorf("the deleted object: %v", err)
		}
		moved.WantObjects(t, name, slices.Concat(objects[:9], objects[10:]))
		finds(t, moved, name)
	})
}

// TestRecordKept: an image that differs from the record is not recorded if it lacks
// anything, and nothing is written to it from an image of another layout.
func TestRecordKept(t *testing.T) {
	eachMove(t, func(t *testing.T, s *roletest.Stage, to config.Pool) {
		objects := roletest.Objects(1, 300, 3000)
		name := readonly(t, s, objects)
		moved := pythonMoves(t, s, to, name, objects)
		quarantine(t, s, name)
		before := record(t, s, name)
		unchanged := func(says string, want ...finding) {
			t.Helper()
			image := content(t, moved, name)
			leaves(t, moved, name, says, want...)
			if !bytes.Equal(content(t, moved, name), image) {
				t.Error("the repair changed the image")
			}
			if record(t, s, name) != before {
				t.Error("the image was recorded")
			}
			wantQuarantined(t, s, name, true)
		}
		_, position := at(t, moved, name, objects[50].ID)
		moved.FlipBit(t, name, position+9)
		unchanged("different layouts", finding{kind: scrub.RecordDiffers}, finding{scrub.ObjectDamaged, objects[50].ID})
		moved.FlipBit(t, name, position+9)

		// Damaged after it was verified, and before the repair has the image to itself.
		var once sync.Once
		s.Pool.At = func(point roletest.Point, _ string) error {
			if point == roletest.Open {
				once.Do(func() { moved.FlipBit(t, name, position+9) })
			}
			return nil
		}
		whole := content(t, moved, name)
		r, err := scrubber(moved).Repair(t.Context(), name, false)
		if len(r.Done) > 0 || !strings.Contains(fmt.Sprint(err), "is not recorded") || record(t, s, name) != before {
			t.Errorf("done %q, error %v", r.Done, err)
		}
		wantQuarantined(t, s, name, true)
		s.Pool.At = nil
		moved.FlipBit(t, name, position+9)
		if !bytes.Equal(content(t, moved, name), whole) {
			t.Error("the repair changed the image")
		}

		roletest.Put(t, moved.Pool.Pool, name, objects[1:])
		unchanged("different layouts", finding{kind: scrub.RecordDiffers}, finding{scrub.NotInImage, objects[0].ID})
	})
}
