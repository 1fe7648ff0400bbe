// SPDX-License-Identifier: GPL-3.0-or-later

package migrator_test

import (
	"errors"
	"testing"

	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/pgtest"
	"winery/test/roletest"
)

// TestPlanRefuses: a plan fails where the migration fails: for a quarantined shard, and for
// an image that is not the one that was packed.
func TestPlanRefuses(t *testing.T) {
	s := newStage(t, directory(t, "old"), directory(t, "new"))
	all := objects()
	roletest.Put(t, s.From, image, all)
	m := s.migrator()
	m.NoRecord = true
	if p, err := m.Plan(t.Context(), image); err != nil || p.Objects != int64(len(all)) {
		t.Fatalf("an image that the database does not know: %+v, %v", p, err)
	}
	s.record(t)
	refused := func(what string, expected func(error) bool) {
		t.Helper()
		m := s.migrator()
		_, planned := m.Plan(t.Context(), image)
		_, err := m.Migrate(t.Context(), image)
		if !expected(planned) || !expected(err) {
			t.Errorf("%s: planned %v, migrated %v", what, planned, err)
		}
	}
	expect.NoError(t, s.Base.Quarantine(t.Context(), s.Shard(t, image).ID, "a test"))
	refused("quarantined", func(err error) bool { return errors.As(err, new(*sharedbase.QuarantinedError)) })
	expect.NoError(t, s.Base.Unquarantine(t.Context(), image))
	pgtest.Exec(t, s.DSN, "UPDATE winery_image SET objects = objects + 1")
	refused("another image", func(err error) bool { return errors.Is(err, sharedbase.ErrOtherImage) })
	pgtest.Exec(t, s.DSN, "UPDATE winery_image SET objects = objects - 1")
	if p, err := s.migrator().Plan(t.Context(), image); err != nil || p.Objects != int64(len(all)) {
		t.Errorf("an intact image: %+v, %v", p, err)
	}
	s.migrate(t)
}
