// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"bytes"
	"slices"
	"testing"

	"winery/sharedbase"
)

// The removal of marks locks the index rows in the order of their keys, as an Add
// does, whatever their order in the table: otherwise the two could wait for each
// other.
func TestMarksGoInOrder(t *testing.T) {
	b, conn := newBase(t)
	objects := []sharedbase.Object{object("one"), object("two")}
	slices.SortFunc(objects, func(x, y sharedbase.Object) int { return bytes.Compare(y.ID[:], x.ID[:]) })
	last, first := objects[0], objects[1]
	s := shardIn(t, b, sharedbase.StatePacked, objects...)
	for _, o := range objects { // the last is the first in the table
		if err := b.Delete(t.Context(), o.ID); err != nil {
			t.Fatal(err)
		}
	}
	c := must(b.ClaimImage(t.Context(), s.Name))(t)
	adding := must(conn.Begin(t.Context()))(t)
	const lock = "SELECT FROM signature2shard WHERE signature = $1 FOR UPDATE NOWAIT"
	must(adding.Exec(t.Context(), lock, first.ID[:]))(t)
	cleaned := background(func() int64 { return must(c.RecordErased(t.Context(), ids(objects...)))(t) })
	blocked(t, connect(t, conn.Config().ConnString()), 1)
	must(adding.Exec(t.Context(), lock, last.ID[:]))(t)
	if err := adding.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := <-cleaned; n != 2 {
		t.Errorf("%d marks were removed", n)
	}
}
