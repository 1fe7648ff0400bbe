// SPDX-License-Identifier: GPL-3.0-or-later

package packer_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"winery/internal/imagebuild"
	"winery/internal/packer"
	"winery/internal/progress"
	"winery/pool"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/roletest"
	"winery/test/s3test"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(s3test.Tests{M: m}) }

// step is that of a packer for all pools of a stage.
func step(s *roletest.Stage) func(context.Context) (bool, error) {
	return packer.New(packer.Options{Base: s.Base, Pools: s.Pools, Log: s.Log}).Step
}

// packs fails the test unless the stage's packer packs a shard.
func packs(t *testing.T, s *roletest.Stage) {
	t.Helper()
	worked, err := step(s)(t.Context())
	expect.NoError(t, err)
	if !worked {
		t.Fatal("the packer found nothing to do")
	}
}

func TestPacks(t *testing.T) {
	roletest.EachKind(t, func(t *testing.T, s *roletest.Stage) {
		objects := roletest.Objects(1, 500, 20_000)
		name := s.Full(t, objects)
		packs(t, s)
		s.WantState(t, name, sharedbase.StatePacked)
		s.WantObjects(t, name, objects)
		if n, _, err := s.Base.TableSize(t.Context(), name); err != nil || n != 500 {
			t.Fatalf("the table has %d objects (%v), want all 500", n, err)
		}
		worked, err := step(s)(t.Context())
		if worked || err != nil {
			t.Fatalf("a step without a full shard: %v, %v", worked, err)
		}
	})
}

func TestEmptyShard(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	name := s.Full(t, nil)
	packs(t, s)
	s.WantState(t, name, sharedbase.StatePacked)
	if n := s.Image(t, name).Info().Objects; n != 0 {
		t.Fatalf("%d objects", n)
	}
}

func TestPacksOnlyItsPools(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	other := s.FullIn(t, "elsewhere", roletest.Objects(1, 3, 100))
	name := s.Full(t, roletest.Objects(2, 3, 100))
	elsewhere := packer.New(packer.Options{Base: s.Base, Pools: s.Pools, Pool: "another", Log: s.Log})
	if worked, err := elsewhere.Step(t.Context()); worked || err != nil {
		t.Fatalf("a packer for another pool: %v, %v", worked, err)
	}
	packs(t, s)
	s.WantState(t, name, sharedbase.StatePacked)
	if worked, err := step(s)(t.Context()); worked || err != nil {
		t.Fatalf("a shard of a pool that is not configured: %v, %v", worked, err)
	}
	s.WantState(t, other, sharedbase.StateFull)
}

// TestPacksMoreThanUsual: a writer of Python's counts contents only, so that the
// index of a shard of tiny objects may need a larger image than the pool's usual
// one, and one large object too.
func TestPacksMoreThanUsual(t *testing.T) {
	roletest.EachKind(t, func(t *testing.T, s *roletest.Stage) {
		objects := roletest.Objects(1, 3, 4*roletest.ShardMaxSize)
		name := s.Full(t, objects)
		packs(t, s)
		s.WantObjects(t, name, objects)
	})
}

func TestProgress(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	s.Full(t, roletest.Objects(1, 100, 20_000)[1:])
	tasks := map[progress.Task]progress.Report{}
	p := packer.New(packer.Options{Base: s.Base, Pools: s.Pools, Log: s.Log, Progress: func(p progress.Report) {
		if p.Limit > 0 { // it says what it is at before it falls silent
			tasks[p.Task] = p
			return
		}
		begins := tasks[p.Task] == progress.Report{} && p.Task == imagebuild.Writing
		if begins != (p.Done == 0) || p.Done > p.Total {
			t.Errorf("%+v", p)
		}
		tasks[p.Task] = p
	}})
	if _, err := p.Step(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(tasks) != 4 || tasks[imagebuild.Counting].Limit != time.Hour ||
		tasks[imagebuild.Indexing].Limit != time.Minute+99*100*time.Microsecond {
		t.Errorf("reports of %v, want those of four tasks", tasks)
	}
}

// TestNothingReserved: a pool that may not create images and has none reserved.
func TestNothingReserved(t *testing.T) {
	s := roletest.NewWith(t, roletest.RBD(t), false)
	objects := roletest.Objects(1, 10, 100)
	name := s.Full(t, objects)
	if worked, err := step(s)(t.Context()); worked || !errors.Is(err, pool.ErrNotFound) {
		t.Fatalf("%v, %v", worked, err)
	}
	s.WantState(t, name, sharedbase.StateFull)
	expect.NoError(t, s.Pool.Reserve(t.Context(), name))
	packs(t, s)
	s.WantObjects(t, name, objects)
}
