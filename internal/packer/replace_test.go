// SPDX-License-Identifier: GPL-3.0-or-later

package packer_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"winery/format"
	"winery/internal/cleaner"
	"winery/internal/containment"
	"winery/pool/pooltest"
	"winery/shard"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/pgtest"
	"winery/test/roletest"
)

// wantRefused fails the test unless the packer leaves a shard and its image alone,
// and quarantines the shard for a reason that says what is expected.
func wantRefused(t *testing.T, s *roletest.Stage, name, says string) {
	t.Helper()
	before := bytesOf(t, s, name)
	worked, err := step(s)(t.Context())
	if worked || !errors.Is(err, containment.ErrNotContained) {
		t.Fatalf("packed: %v, %v", worked, err)
	}
	s.WantState(t, name, sharedbase.StateFull)
	s.WantQuarantined(t, says, name)
	if !slices.Equal(bytesOf(t, s, name), before) {
		t.Error("the image was changed")
	}
	if worked, err := step(s)(t.Context()); worked || err != nil {
		t.Errorf("a quarantined shard: %v, %v", worked, err)
	}
}

func bytesOf(t *testing.T, s *roletest.Stage, name string) []byte {
	t.Helper()
	img, err := s.Pool.Pool.Open(t.Context(), name)
	expect.NoError(t, err)
	content, err := io.ReadAll(io.NewSectionReader(img, 0, img.Size()))
	expect.NoError(t, errors.Join(err, img.Close()))
	return content
}

// TestDatabaseOlderThanImage: after a database was restored from a backup, an image
// can have more objects than its shard's table. None of them is lost.
func TestDatabaseOlderThanImage(t *testing.T) {
	roletest.EachKind(t, func(t *testing.T, s *roletest.Stage) {
		objects := roletest.Objects(1, 299, 5000)
		name := s.Full(t, objects[:100])
		roletest.Put(t, s.Pool.Pool, name, objects)
		wantRefused(t, s, name, "199 objects that its replacement would lose")
		s.WantQuarantined(t, "`wineryctl index reconcile`", name)
		s.WantObjects(t, name, objects)
	})
}

// TestLeftoverOfDeadPacker: a packer that died after its commit leaves a whole image.
// Objects that were deleted since, or are in another shard, do not keep it from
// being replaced: their marks stay until the shard is packed.
func TestLeftoverOfDeadPacker(t *testing.T) {
	roletest.EachKind(t, func(t *testing.T, s *roletest.Stage) {
		objects := roletest.Objects(1, 300, 5000)
		deleted, again, elsewhere := objects[1], objects[2], roletest.Objects(2, 2, 100)[1]
		name := s.Full(t, objects)
		roletest.Put(t, s.Pool.Pool, name, append(objects[:300:300], elsewhere))
		expect.NoError(t, s.Base.Delete(t.Context(), deleted.ID))
		expect.NoError(t, s.Base.Delete(t.Context(), again.ID))
		other := s.FullIn(t, "elsewhere", []sharedbase.Object{again, elsewhere})
		clean := cleaner.New(cleaner.Options{Base: s.Base, Pools: s.Pools, Log: s.Log})
		if n, err := clean.EraseDeleted(t.Context()); n != 0 || err != nil {
			t.Fatalf("erased %d, %v", n, err)
		}
		packs(t, s)
		s.WantState(t, name, sharedbase.StatePacked)
		s.WantObjects(t, name, append(objects[:1:1], objects[3:]...))
		if n, err := clean.EraseDeleted(t.Context()); n != 2 || err != nil {
			t.Errorf("removed %d marks, want 2: %v", n, err)
		}
		for _, o := range []sharedbase.Object{deleted, again, elsewhere} {
			if _, err := s.Image(t, name).Get(o.ID); !errors.Is(err, format.ErrNotFound) {
				t.Errorf("object %x: %v", o.ID, err)
			}
		}
		at, err := s.Base.Locate(t.Context(), []sharedbase.ObjID{again.ID, elsewhere.ID})
		expect.NoError(t, err)
		if at[0].Shard != other || at[1].Shard != other {
			t.Errorf("they are in %+v", at)
		}
	})
}

// TestTableDamagedImageWhole: a row that is damaged does not replace the object in
// the image.
func TestTableDamagedImageWhole(t *testing.T) {
	roletest.EachKind(t, func(t *testing.T, s *roletest.Stage) {
		objects := roletest.Objects(1, 50, 5000)
		name := s.Full(t, objects)
		roletest.Put(t, s.Pool.Pool, name, objects)
		pgtest.Exec(t, s.DSN, fmt.Sprintf("UPDATE shard_%s SET content = 'damaged' WHERE key = $1", name), objects[7].ID[:])
		wantRefused(t, s, name, fmt.Sprintf("1 objects that its replacement would lose, first %x", objects[7].ID))
		s.WantObjects(t, name, objects)
	})
}

// TestUnreadableImage: what may be an image, and cannot be read, is not replaced.
func TestUnreadableImage(t *testing.T) {
	objects := roletest.Objects(1, 50, 5000)
	for what, at := range map[string]func(*shard.Reader) int64{
		"header":        func(*shard.Reader) int64 { return 3 },
		"hash function": func(r *shard.Reader) int64 { return r.Layout().HashPosition + 1 },
		"index":         func(r *shard.Reader) int64 { at, _ := r.EntryRange(objects[1].ID); return at },
	} {
		t.Run(what, func(t *testing.T) {
			s := roletest.New(t, roletest.Directory(t, ""))
			name := s.Full(t, objects)
			roletest.Put(t, s.Pool.Pool, name, objects)
			s.FlipBit(t, name, at(s.SWHShard(t, name)))
			wantRefused(t, s, name, "cannot be read")
		})
	}
}

// TestUnfinishedImage: an image without a header was never in use, and is replaced.
func TestUnfinishedImage(t *testing.T) {
	roletest.EachKind(t, func(t *testing.T, s *roletest.Stage) {
		objects := roletest.Objects(1, 50, 5000)
		name := s.Full(t, objects)
		draft, err := s.Pool.Pool.Create(t.Context(), name, 0, pooltest.Anything{})
		expect.NoError(t, err)
		_, err = draft.WriteAt([]byte(strings.Repeat("x", 10_000)), 512)
		expect.NoError(t, errors.Join(err, draft.Commit(t.Context())))
		packs(t, s)
		s.WantObjects(t, name, objects)
		if _, err := s.Image(t, name).Verify(t.Context(), nil); err != nil {
			t.Error(err)
		}
	})
}
