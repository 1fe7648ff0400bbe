// SPDX-License-Identifier: GPL-3.0-or-later

package importer_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"winery/format"
	"winery/internal/importer"
	"winery/pool"
	"winery/pool/pooltest"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/pgtest"
	"winery/test/roletest"
)

// readonly makes a readonly shard of objects, and erases one of them in the image, of which
// the database is not told.
func readonly(t testing.TB, s *roletest.Stage, name string, objects []sharedbase.Object, erased ...sharedbase.ObjID) sharedbase.Shard {
	t.Helper()
	roletest.Put(t, s.Pool, name, objects)
	_, err := (&importer.Importer{Base: s.Base}).Import(t.Context(), s.Pool, name)
	expect.NoError(t, err)
	e, err := s.Pool.Edit(t.Context(), name, pooltest.Anything{})
	expect.NoError(t, err)
	_, err = s.Pool.Format().Erase(t.Context(), e, e.Size(), name, 1, erased)
	expect.NoError(t, err)
	expect.NoError(t, errors.Join(e.Commit(t.Context()), e.Close()))
	return s.Shard(t, name)
}

// TestRemoveErased: an object that was erased, and that the index has, is removed from the
// index, and can be stored again.
func TestRemoveErased(t *testing.T) {
	roletest.EachKind(t, func(t *testing.T, s *roletest.Stage) {
		objects := roletest.Objects(1, 60, 1000)
		want := []sharedbase.ObjID{objects[7].ID, objects[30].ID}
		sh := readonly(t, s, "image", objects, want...)
		slices.SortFunc(want, func(a, b sharedbase.ObjID) int { return bytes.Compare(a[:], b[:]) })
		i := &importer.Importer{Base: s.Base}
		for run, test := range []struct {
			dryRun bool
			want   []sharedbase.ObjID
		}{{true, want}, {false, want}, {false, nil}} {
			got, err := i.RemoveErased(t.Context(), []pool.Pool{s.Pool}, sh, test.dryRun)
			if err != nil || !slices.Equal(got.Absent, test.want) {
				t.Errorf("run %d: %x, %v, want %x", run, got.Absent, err, test.want)
			}
		}
		claim, err := s.Base.CreateShard(t.Context(), s.Pool.Name())
		expect.NoError(t, err)
		added, err := s.Base.Add(t.Context(), claim, objects)
		if err != nil || added.Objects != 2 || !added.New[7] || !added.New[30] {
			t.Errorf("added again: %+v, %v", added, err)
		}
		expect.NoError(t, claim.Release(t.Context()))
	})
}

// TestNotRemoved: where an image does not tell what it has, or a table may have it, the index
// stays as it is.
func TestNotRemoved(t *testing.T) {
	objects := roletest.Objects(1, 60, 1000)
	for name, test := range map[string]struct {
		change func(*testing.T, *roletest.Stage)
		want   func(error) bool
	}{
		"damaged index": {func(t *testing.T, s *roletest.Stage) {
			entry, _ := s.SWHShard(t, "image").EntryRange(objects[3].ID)
			s.FlipBit(t, "image", entry+3)
		}, func(err error) bool { return errors.As(err, new(*format.DamageError)) }},
		"damaged header": {func(t *testing.T, s *roletest.Stage) {
			s.FlipBit(t, "image", 3)
		}, func(err error) bool { return errors.As(err, new(*format.DamageError)) }},
		"another image": {func(t *testing.T, s *roletest.Stage) {
			pgtest.Exec(t, s.DSN, "UPDATE winery_image SET fingerprint = sha256('another')")
		}, func(err error) bool { return errors.Is(err, sharedbase.ErrOtherImage) }},
		"no image": {func(t *testing.T, s *roletest.Stage) {
			expect.NoError(t, s.Pool.Remove(t.Context(), "image", pooltest.Anything{}))
		}, func(err error) bool { return errors.Is(err, pool.ErrNotFound) }},
		"a table": {func(t *testing.T, s *roletest.Stage) {
			pgtest.Exec(t, s.DSN, "UPDATE shards SET state = 'packed'")
		}, func(err error) bool {
			return err != nil && strings.Contains(err.Error(), "wineryctl verify --repair --shard image")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := roletest.New(t, roletest.Directory(t, ""))
			readonly(t, s, "image", objects, objects[7].ID)
			test.change(t, s)
			for _, dryRun := range []bool{true, false} {
				got, err := (&importer.Importer{Base: s.Base}).RemoveErased(t.Context(), []pool.Pool{s.Pool}, s.Shard(t, "image"), dryRun)
				if len(got.Absent) > 0 || !test.want(err) {
					t.Errorf("removed %x, %v", got.Absent, err)
				}
			}
			if n, err := s.Base.CountObjects(t.Context(), "image"); err != nil || n != 60 {
				t.Errorf("the index has %d objects, %v", n, err)
			}
		})
	}
}
