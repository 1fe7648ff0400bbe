// SPDX-License-Identifier: GPL-3.0-or-later

package importer_test

import (
	"errors"
	"testing"

	"winery/internal/importer"
	"winery/pool"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/roletest"
)

// TestUncommittedImage: a complete image that its writer has not committed is not adopted,
// which would drop the shard's table: the writer, which has lost its claim, may be about to
// wipe it.
func TestUncommittedImage(t *testing.T) {
	s := roletest.New(t, roletest.RBD(t))
	objects := roletest.Objects(1, 30, 1000)[1:]
	name := s.Full(t, objects)
	draft := roletest.Draft(t, roletest.OpenPools(t, true, s.Config)[s.Config.Name], name, objects)
	written, err := draft.Open(t.Context()) // which makes it durable
	expect.NoError(t, err)
	expect.NoError(t, written.Close())
	found, err := importer.FindUnpacked(t.Context(), s.Base, []pool.Pool{s.Pool})
	expect.NoError(t, err)
	if len(found) != 1 {
		t.Fatalf("found %+v", found)
	}
	i := &importer.Importer{Base: s.Base}
	if _, err := i.Adopt(t.Context(), found[0], false); !errors.Is(err, pool.ErrInUse) {
		t.Errorf("adopting an image that is being written: %v", err)
	}
	s.WantState(t, name, sharedbase.StateFull)
	expect.NoError(t, draft.Commit(t.Context()))
	done, err := i.Adopt(t.Context(), found[0], false)
	expect.NoError(t, err)
	if done.Objects != int64(len(objects)) {
		t.Errorf("adopted %+v", done)
	}
	s.WantState(t, name, sharedbase.StateReadOnly)
	s.WantObjects(t, name, objects)
}
