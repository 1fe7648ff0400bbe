// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"testing"

	"github.com/google/uuid"

	"winery/sharedbase"
	"winery/test/pgtest"
)

func idOf(t *testing.T, dsn string) sharedbase.DatabaseID {
	t.Helper()
	id := must(open(t, dsn).ID(t.Context()))(t)
	if id.System == "" || id.OID == 0 || id.Name == "" {
		t.Fatalf("%+v", id)
	}
	return id
}

// A copy has another identity; a renamed database keeps its own.
func TestID(t *testing.T) {
	dsn := pgtest.New(t)
	id := idOf(t, dsn)
	if again := idOf(t, dsn); !again.Same(id) {
		t.Errorf("%+v, then %+v", id, again)
	}
	if copied := idOf(t, pgtest.Copy(t, dsn)); copied.Same(id) || copied.System != id.System {
		t.Errorf("the original is %+v, its copy %+v", id, copied)
	}
}

// A standby has the identity of its primary, so that it may take its place.
func TestStandbyHasTheSameID(t *testing.T) {
	r := newReplicated(t)
	if primary, standby := idOf(t, r.primary.DSN), idOf(t, r.standby.DSN); !standby.Same(primary) {
		t.Errorf("the primary is %+v, the standby %+v", primary, standby)
	}
}

func TestRecordPool(t *testing.T) {
	base := open(t, pgtest.New(t))
	must(base.Init(t.Context()))(t)
	first, second := uuid.New(), uuid.New()
	record := func(id uuid.UUID, replace bool, want uuid.UUID) {
		t.Helper()
		if err := base.RecordPool(t.Context(), "shards", id, replace); err != nil {
			t.Fatal(err)
		}
		records := must(base.PoolRecords(t.Context()))(t)
		if r := records["shards"]; len(records) != 1 || r.UUID != want || r.Adopted.IsZero() || r.Host == "" {
			t.Errorf("%+v", records)
		}
	}
	record(first, false, first)
	record(second, false, first)
	record(second, true, second)
}
