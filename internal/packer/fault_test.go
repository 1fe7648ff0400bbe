// SPDX-License-Identifier: GPL-3.0-or-later

package packer_test

import (
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"winery/internal/testceph"
	"winery/internal/testrole"
	"winery/pool"
	"winery/sharedbase"
)

// TestKilled kills a packer at each of the points of the package comment.
func TestKilled(t *testing.T) {
	points := []struct {
		point testrole.Point
		nth   int
	}{
		{testrole.Create, 1}, {testrole.Write, 1}, {testrole.Write, 2}, {testrole.Write, 4},
		{testrole.Commit, 1}, {testrole.Committed, 1}, {testrole.Open, 1},
	}
	objects := testrole.Objects(1, 500, 30_000)
	killed := func(t *testing.T, s *testrole.Stage, point testrole.Point, nth int) {
		name := s.Full(t, objects)
		s.KillAt(t, point, nth)
		s.WantState(t, name, sharedbase.StatePacking)
		s.Release(t, name)
		s.WantState(t, name, sharedbase.StateFull)
		packs(t, s)
		s.WantState(t, name, sharedbase.StatePacked)
		s.WantObjects(t, name, objects)
	}
	for _, p := range points {
		t.Run(fmt.Sprintf("directory/%s/%d", p.point, p.nth), func(t *testing.T) {
			killed(t, testrole.New(t, testrole.Directory(t, "")), p.point, p.nth)
		})
	}
	for _, p := range points[2:] {
		t.Run(fmt.Sprintf("rbd/%s/%d", p.point, p.nth), func(t *testing.T) {
			t.Parallel() // a dead client's lock is taken over after 30 s
			killed(t, testrole.New(t, testrole.RBD(t)), p.point, p.nth)
		})
	}
}

// TestDiskFull packs onto a file system that is too small, and again once it
// was made larger.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	testrole.Must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"))
	t.Cleanup(func() { testrole.Must(t, unix.Unmount(dir, 0)) })
	s := testrole.New(t, testrole.Directory(t, dir))
	objects := testrole.Objects(1, 500, 20_000)
	name := s.Full(t, objects)
	if worked, err := step(s)(t.Context()); worked || !errors.Is(err, pool.ErrFull) {
		t.Fatalf("%v, %v", worked, err)
	}
	s.WantState(t, name, sharedbase.StateFull)
	testrole.Must(t, unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size=16m"))
	packs(t, s)
	s.WantObjects(t, name, objects)
}

// TestQuota does the same with the quota of a Ceph pool.
func TestQuota(t *testing.T) {
	s := testrole.New(t, testrole.RBD(t))
	objects := testrole.Objects(1, 500, 20_000)
	name := s.Full(t, objects)
	ceph := testceph.Connect(t)
	quota := func(bytes string) {
		t.Helper()
		testceph.Command(t, ceph, map[string]any{
			"prefix": "osd pool set-quota", "pool": s.Config.DataPool, "field": "max_bytes", "val": bytes,
		})
	}
	quota("1000000")
	if worked, err := step(s)(t.Context()); worked || !errors.Is(err, pool.ErrFull) {
		t.Fatalf("%v, %v", worked, err)
	}
	s.WantState(t, name, sharedbase.StateFull)
	quota("0")
	packs(t, s)
	s.WantObjects(t, name, objects)
}
