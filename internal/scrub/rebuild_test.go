// SPDX-License-Identifier: GPL-3.0-or-later

package scrub_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"

	"winery/format"
	"winery/internal/imagebuild"
	"winery/internal/progress"
	"winery/internal/reader"
	"winery/internal/scrub"
	"winery/pool/pooltest"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/roletest"
)

// A packed shard's image is rebuilt from its table, which readers use meanwhile.
func TestRepairFromTable(t *testing.T) {
	roletest.EachKind(t, func(t *testing.T, s *roletest.Stage) {
		objects := roletest.Objects(1, 300, 20_000)
		name := packed(t, s, objects)
		_, err := s.Base.RecordShardMapped(t.Context(), "host", s.Config.Name, name)
		expect.NoError(t, err)
		expect.NoError(t, s.Base.Delete(t.Context(), objects[7].ID))
		there := slices.Concat(objects[:7], objects[8:])
		r := reader.NewReader(reader.Options{Base: s.Base, Pools: s.Pools, CacheSize: 10, Log: s.Log})
		defer r.Close()
		_, position := at(t, s, name, objects[100].ID)
		// Set once: the reader closes images in the background.
		s.Pool.At = func(point roletest.Point, _ string) error {
			if point != roletest.Commit {
				return nil
			}
			s.WantState(t, name, sharedbase.StateCleaning)
			got, err := r.Get(t.Context(), objects[100].ID, nil)
			if err != nil || string(got) != string(objects[100].Content) {
				t.Errorf("while the image is made: %d bytes, %v", len(got), err)
			}
			return nil
		}
		for _, damage := range []func(){
			func() { s.FlipBit(t, name, position+9) },
			func() { s.FlipBit(t, name, 3) },
			func() { expect.NoError(t, s.Pool.Remove(t.Context(), name, pooltest.Anything{})) },
		} {
			damage()
			quarantine(t, s, name)
			repairs(t, s, name, "rebuilt the image from the table; unquarantined")
			s.WantState(t, name, sharedbase.StatePacked)
			s.WantObjects(t, name, there)
			wantQuarantined(t, s, name, false)
			if _, err := s.Image(t, name).Get(objects[7].ID); !errors.Is(err, format.ErrNotFound) {
				t.Errorf("a deleted object is in the image: %v", err)
			}
			if hosts := s.Shard(t, name).MappedOn; len(hosts) != 0 {
				t.Errorf("the new image is mapped on %v", hosts)
			}
		}
		r.Close()
		s.Pool.At = nil
		clean(t, s)
		finds(t, s, name)
	})
}

// A row of the table that the index does not have, as Python's deleting leaves it,
// is in the image that is made, and told of.
func TestRepairFromTableWithMore(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	objects := roletest.Objects(1, 300, 5000)
	name := packed(t, s, objects)
	expect.NoError(t, s.Pool.Remove(t.Context(), name, pooltest.Anything{}))
	psql(t, s, fmt.Sprintf("DELETE FROM signature2shard WHERE signature = '\\x%x'", objects[8].ID))
	r, err := scrubber(s).Repair(t.Context(), name, false)
	expect.NoError(t, err)
	wantFindings(t, r.Report, finding{scrub.NotErased, objects[8].ID})
	s.WantQuarantined(t, "") // the new image is verified
	r, err = scrubber(s).Repair(t.Context(), name, true)
	expect.NoError(t, err)
	wantFindings(t, r.Report)
	clean(t, s)
	s.WantState(t, name, sharedbase.StateReadOnly)
}

// TestRebuildKeepsTheRate: writing the image again, and reading it back, keeps the rate and
// reports its progress.
func TestRebuildKeepsTheRate(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	objects := roletest.Objects(1, 100, 20_000)
	name := packed(t, s, objects)
	s.FlipBit(t, name, 3)
	size := 0.
	for _, o := range objects {
		size += float64(len(o.Content))
	}
	limit := rate.NewLimiter(1e-6, 1<<30) // so that what was taken of it can be counted
	before, after := 0., 0.
	s.Pool.At = func(point roletest.Point, _ string) error {
		switch point {
		case roletest.Create:
			before = limit.Tokens()
		case roletest.Commit:
			after = limit.Tokens()
		default:
		}
		return nil
	}
	tasks := map[progress.Task]bool{}
	r := scrubber(s)
	r.Rate, r.Progress = limit, func(r progress.Report) { tasks[r.Task] = true }
	_, err := r.Repair(t.Context(), name, false)
	expect.NoError(t, err)
	if took := before - after; took < 2*size-1 {
		t.Errorf("rebuilding took %.0f bytes of the rate, want %.0f", took, 2*size)
	}
	if !tasks[imagebuild.Writing] || !tasks[imagebuild.Verifying] {
		t.Errorf("tasks: %v", tasks)
	}
}

// A repair that fails once the image may be wiped leaves a shard whose image no host has
// mapped: Python's cleaner, which reads no image, would drop the table else. The shard is
// quarantined, so that no cleaner of Go Winery relies on an image that the repair, if it was
// only cut off, may still wipe.
func TestFailedRepairIsNotMapped(t *testing.T) {
	roletest.EachKind(t, func(t *testing.T, s *roletest.Stage) {
		objects := roletest.Objects(1, 300, 20_000)
		name := packed(t, s, objects)
		_, err := s.Base.RecordShardMapped(t.Context(), "host", s.Config.Name, name)
		expect.NoError(t, err)
		_, position := at(t, s, name, objects[100].ID)
		s.FlipBit(t, name, position+9)
		full := errors.New("the store is full")
		s.Pool.At = func(point roletest.Point, _ string) error {
			switch point {
			case roletest.Create:
				if hosts := s.Shard(t, name).MappedOn; len(hosts) != 0 {
					t.Errorf("mapped on %v when the image is about to be wiped", hosts)
				}
				if since, err := s.Base.QuarantinedAt(t.Context(), name); err != nil || since.IsZero() {
					t.Errorf("not quarantined when the image is about to be wiped: %v", err)
				}
			case roletest.Write:
				return full
			default:
			}
			return nil
		}
		if _, err := scrubber(s).Repair(t.Context(), name, false); !errors.Is(err, full) {
			t.Errorf("repaired: %v", err)
		}
		s.WantState(t, name, sharedbase.StatePacked)
		if hosts := s.Shard(t, name).MappedOn; len(hosts) != 0 {
			t.Errorf("mapped on %v after the repair failed", hosts)
		}
		s.WantQuarantined(t, "verify --repair", name)
		s.Pool.At = nil
		repairs(t, s, name, "rebuilt the image from the table")
		s.WantObjects(t, name, objects)
	})
}

// A repair that is killed leaves the table, and the next repair completes it.
func TestRepairKilled(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	objects := roletest.Objects(1, 300, 20_000)
	name := packed(t, s, objects)
	_, position := at(t, s, name, objects[100].ID)
	s.FlipBit(t, name, position+9)
	for _, point := range []roletest.Point{roletest.Create, roletest.Write, roletest.Commit, roletest.After(roletest.Commit)} {
		s.Start(t, "repair", roletest.Halt{Point: point, Nth: 1, Signal: unix.SIGKILL}).Killed(t)
		s.WantState(t, name, sharedbase.StateCleaning)
		s.Expire(t)
		_, err := s.Base.ReclaimExpired(t.Context())
		expect.NoError(t, err)
	}
	repairs(t, s, name, "") // the last one may have committed an image that is as recorded
	s.WantObjects(t, name, objects)
}

// Where the table is damaged too, the image is not touched: it may have what the
// table has not.
func TestRepairNotFromDamagedTable(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	objects := roletest.Objects(1, 300, 5000)
	name := packed(t, s, objects)
	_, position := at(t, s, name, objects[100].ID)
	s.FlipBit(t, name, position+9)
	psql(t, s, fmt.Sprintf("UPDATE shard_%s SET content = '' WHERE key = '\\x%x'", name, objects[50].ID))
	quarantine(t, s, name)
	leaves(t, s, name, "the table is damaged",
		finding{scrub.ObjectDamaged, objects[100].ID}, finding{scrub.RowDamaged, objects[50].ID})
	s.WantState(t, name, sharedbase.StatePacked)
	s.WantObjects(t, name, slices.Concat(objects[:100], objects[101:]))
	wantQuarantined(t, s, name, true)
}
