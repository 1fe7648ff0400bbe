// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"winery/sharedbase"
)

// TestDeletionIsRecorded: a deletion and its record are one transaction.
func TestDeletionIsRecorded(t *testing.T) {
	b, conn := newBase(t)
	s := shardIn(t, b, sharedbase.StateStandby, objects("a", "b", "c")...)
	before := time.Now().Add(-time.Hour)
	by := sharedbase.Requester{Client: "loader", Address: "192.0.2.1:999", RequestID: "r1", TraceID: "t1"}
	ctx := sharedbase.WithRequester(t.Context(), by)
	if err := b.Delete(ctx, object("a").ID); err != nil {
		t.Fatal(err)
	}
	if err := b.Delete(ctx, object("a").ID); !errors.Is(err, sharedbase.ErrNotFound) {
		t.Fatal(err)
	}
	if err := b.Delete(t.Context(), object("b").ID); err != nil {
		t.Fatal(err)
	}
	recorded := func(ids ...sharedbase.ObjID) (all []sharedbase.Deletion) {
		t.Helper()
		if err := b.Deletions(t.Context(), before, ids, func(d sharedbase.Deletion) error {
			all = append(all, d)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return all
	}
	all := recorded()
	if len(all) != 2 || all[0].ID != object("a").ID || all[0].Requester != by || all[1].ID != object("b").ID ||
		all[1].Requester != (sharedbase.Requester{}) || all[0].Host == "" || all[0].Role == "" || all[1].At.Before(all[0].At) {
		t.Errorf("recorded %+v", all)
	}
	if got := recorded(object("b").ID, object("c").ID); !slices.Equal(got, all[1:]) {
		t.Errorf("of b and c: %+v", got)
	}
	// Without the record there is no deletion.
	exec(t, conn, "ALTER TABLE winery_deletion ADD CHECK (client <> 'refused')")
	if err := b.Delete(sharedbase.WithRequester(t.Context(), sharedbase.Requester{Client: "refused"}), object("c").ID); err == nil {
		t.Error("deleted without a record")
	}
	present(t, b, s.Name, object("c"))
	broken := errors.New("broken")
	if err := b.Deletions(t.Context(), before, nil, func(sharedbase.Deletion) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("the error of found became %v", err)
	}
}
