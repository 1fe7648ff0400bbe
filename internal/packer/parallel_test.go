// SPDX-License-Identifier: GPL-3.0-or-later

package packer_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"winery/format"
	"winery/internal/packer"
	"winery/pool"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/roletest"
)

// TestTwoPackers has two processes' worth of packers compete for many shards.
func TestTwoPackers(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	var names []string
	for i := range uint64(12) {
		names = append(names, s.Full(t, roletest.Objects(i, 21, 1000)[1:]))
	}
	var mu sync.Mutex
	created := map[string]int{}
	s.Pool.At = func(point roletest.Point, image string) error {
		if point == roletest.Create {
			mu.Lock()
			defer mu.Unlock()
			created[image]++
		}
		return nil
	}
	var both sync.WaitGroup
	for range 2 {
		step := step(s)
		both.Go(func() {
			for {
				worked, err := step(t.Context())
				if err != nil {
					t.Error(err)
				}
				if !worked {
					return
				}
			}
		})
	}
	both.Wait()
	for i, name := range names {
		s.WantState(t, name, sharedbase.StatePacked)
		s.WantObjects(t, name, roletest.Objects(uint64(i), 21, 1000)[1:])
		if created[name] != 1 {
			t.Errorf("shard %s was packed %d times", name, created[name])
		}
	}
}

// TestParallel: the packers of a process work on several shards at once, and none tries
// what another has failed at shortly before.
func TestParallel(t *testing.T) {
	const at = 3
	s := roletest.New(t, roletest.Directory(t, ""))
	var names []string
	for i := range uint64(at) {
		names = append(names, s.Full(t, roletest.Objects(i, 21, 1000)[1:]))
	}
	var failing atomic.Value
	failing.Store("")
	var together sync.WaitGroup
	together.Add(at)
	s.Pool.At = func(point roletest.Point, image string) error {
		switch {
		case image == failing.Load():
			return pool.ErrUnavailable
		case point == roletest.Create:
			together.Done()
			together.Wait() // for the others, without which none goes on
		}
		return nil
	}
	options := packer.Options{Base: s.Base, Pools: s.Pools, Log: s.Log, History: packer.NewHistory()}
	var all sync.WaitGroup
	for range at {
		all.Go(func() {
			if worked, err := packer.New(options).Step(t.Context()); !worked || err != nil {
				t.Errorf("%v, %v", worked, err)
			}
		})
	}
	all.Wait()
	for _, name := range names {
		s.WantState(t, name, sharedbase.StatePacked)
	}

	bad := s.Full(t, roletest.Objects(9, 21, 1000)[1:])
	failing.Store(bad)
	first, second := packer.New(options), packer.New(options)
	now := time.Now()
	first.SetClock(func() time.Time { now = now.Add(2 * time.Minute); return now })
	if _, err := first.Step(t.Context()); !errors.Is(err, pool.ErrUnavailable) {
		t.Fatal(err)
	}
	first.SetClock(func() time.Time { return now })
	if worked, err := second.Step(t.Context()); worked || !errors.As(err, new(*packer.PostponedError)) {
		t.Errorf("it was tried again at once: %v, %v", worked, err)
	}
	now = now.Add(time.Hour)
	if _, err := second.Step(t.Context()); !errors.Is(err, pool.ErrUnavailable) {
		t.Errorf("it was not tried later: %v", err)
	}
}

// TestDeletedWhilePacking deletes one object before the table's snapshot and
// one after it: the image has the second, and the shard is packed all the same.
func TestDeletedWhilePacking(t *testing.T) {
	roletest.EachKind(t, func(t *testing.T, s *roletest.Stage) {
		objects := roletest.Objects(1, 500, 30_000)
		before, after := objects[7].ID, objects[8].ID
		name := s.Full(t, objects)
		s.Pool.At = func(p roletest.Point, _ string) error {
			switch p {
			case roletest.Create:
				return s.Base.Delete(t.Context(), before)
			case roletest.Commit:
				return s.Base.Delete(t.Context(), after)
			default:
				return nil
			}
		}
		packs(t, s)
		s.WantState(t, name, sharedbase.StatePacked)
		s.WantObjects(t, name, append(objects[:7:7], objects[8:]...))
		if _, err := s.Image(t, name).Get(before); !errors.Is(err, format.ErrNotFound) {
			t.Errorf("the object deleted before the snapshot: %v", err)
		}
		where, err := s.Base.Locate(t.Context(), []sharedbase.ObjID{before, after})
		expect.NoError(t, err)
		if where[0].ShardID != 0 || where[1].ShardID != 0 {
			t.Errorf("the index still has them: %v", where)
		}
	})
}
