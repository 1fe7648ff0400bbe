// SPDX-License-Identifier: GPL-3.0-or-later

package scrub_test

import (
	"slices"
	"testing"

	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/roletest"
)

// TestRestoreUnreadable: an object that cannot be read from its image is restored from its
// content.
func TestRestoreUnreadable(t *testing.T) {
	t.Run("directory", func(t *testing.T) { restoreUnreadable(t, roletest.New(t, roletest.Directory(t, ""))) })
	t.Run("mosaic", func(t *testing.T) { restoreUnreadable(t, roletest.New(t, roletest.Mosaic(t))) })
}

func restoreUnreadable(t *testing.T, s *roletest.Stage) {
	objects := roletest.Objects(1, 20, 3000)
	name := readonly(t, s, objects)
	var position int64
	large := slices.IndexFunc(objects, func(o sharedbase.Object) bool {
		_, position = at(t, s, name, o.ID)
		return len(o.Content) > 100 && position > 8192 // not among the bytes that every Open reads
	})
	sector := &roletest.BadSector{Pool: s.Pool.Pool}
	sector.At.Store(position + 50)
	s.Pool.Pool = sector
	if _, restored, err := scrubber(s).RestoreObject(t.Context(), objects[large].Content); err != nil || !restored {
		t.Fatalf("restored: %v, %v", restored, err)
	}
	if sector.At.Load() >= 0 {
		t.Error("the byte that cannot be read was not written")
	}
	s.WantObjects(t, name, objects)
	finds(t, s, name)
	_, restored, err := scrubber(s).RestoreObject(t.Context(), objects[large].Content)
	expect.NoError(t, err)
	if restored {
		t.Error("a whole object was restored")
	}
}
