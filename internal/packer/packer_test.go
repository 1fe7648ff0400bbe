// SPDX-License-Identifier: GPL-3.0-or-later

package packer_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/time/rate"

	"winery/format"
	"winery/internal/imagebuild"
	"winery/internal/pace"
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

// TestRate: contents are written, and the image is read back, no faster than the rate.
func TestRate(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	s.Full(t, roletest.Objects(1, 80, 400_000))
	content := roletest.Objects(1, 80, 400_000)
	var bytes int
	for _, o := range content {
		bytes += len(o.Content)
	}
	const speed, burst = 8 << 20, 4 << 20
	p := packer.New(packer.Options{Base: s.Base, Pools: s.Pools, Log: s.Log, Rate: pace.NewRate(speed)})
	began := time.Now()
	if worked, err := p.Step(t.Context()); !worked || err != nil {
		t.Fatal(worked, err)
	}
	least := time.Duration(2*bytes-burst) * time.Second / speed
	if took := time.Since(began); least < time.Second || took < least {
		t.Errorf("%d bytes took %v, want at least %v", bytes, took, least)
	}
}

// TestRateOfUploads: an image that is uploaded is sent, and read back from the store, no
// faster than the rate.
func TestRateOfUploads(t *testing.T) {
	s := roletest.New(t, roletest.S3(t))
	objects := roletest.Objects(1, 80, 40_000)
	name := s.Full(t, objects)
	content := 0.
	for _, o := range objects {
		content += float64(len(o.Content))
	}
	limit := rate.NewLimiter(1e-6, 1<<30) // so that what was taken of it can be counted
	p := packer.New(packer.Options{Base: s.Base, Pools: s.Pools, Log: s.Log, Rate: limit})
	if worked, err := p.Step(t.Context()); !worked || err != nil {
		t.Fatal(worked, err)
	}
	image := float64(s.Image(t, name).Info().Size) // about as large as the contents, which are random
	if took := 1<<30 - limit.Tokens(); took < content+3*image-1e5 {
		t.Errorf("it took %.0f bytes of the rate; the contents have %.0f, the image has %.0f", took, content, image)
	}
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

// TestAborted ends the context at each point: the shard is full again at once, and
// the next step packs it. Once the image is there, it is recorded in any case.
func TestAborted(t *testing.T) {
	roletest.EachKind(t, func(t *testing.T, s *roletest.Stage) {
		objects := roletest.Objects(1, 500, 30_000) // more than a block of 4 MiB
		name := s.Full(t, objects)
		for _, point := range []roletest.Point{
			roletest.Create, roletest.Write, roletest.Open, roletest.Commit,
		} {
			ctx, abort := context.WithCancel(t.Context())
			s.Pool.At = func(p roletest.Point, _ string) error {
				if p == point {
					abort()
				}
				return nil
			}
			worked, err := step(s)(ctx)
			if worked || !errors.Is(err, context.Canceled) {
				t.Fatalf("aborted at %s: %v, %v", point, worked, err)
			}
			s.WantState(t, name, sharedbase.StateFull)
		}
		ctx, abort := context.WithCancel(t.Context())
		s.Pool.At = func(p roletest.Point, _ string) error {
			if p == roletest.Committed {
				abort()
			}
			return nil
		}
		if worked, err := step(s)(ctx); !worked || err != nil {
			t.Errorf("aborted when the image is there: %v, %v", worked, err)
		}
		s.Pool.At = nil
		s.WantState(t, name, sharedbase.StatePacked)
		s.WantObjects(t, name, objects)
	})
}

// TestAbortedOutOfSight: until the image is verified, there is no file of its
// name. Python's packers fail, at each attempt, on a file that is not writable.
func TestAbortedOutOfSight(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	s.Full(t, roletest.Objects(1, 100, 20_000))
	for _, point := range []roletest.Point{roletest.Write, roletest.Open, roletest.Commit} {
		ctx, abort := context.WithCancel(t.Context())
		s.Pool.At = func(p roletest.Point, _ string) error {
			if p == point {
				abort()
			}
			return nil
		}
		if _, err := step(s)(ctx); !errors.Is(err, context.Canceled) {
			t.Fatalf("aborted at %s: %v", point, err)
		}
		images, err := s.Pool.List(t.Context())
		expect.NoError(t, err)
		if len(images) > 0 {
			t.Errorf("aborted at %s, the packer left image %s", point, images)
		}
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

// forgetful is a pool whose drafts lose a bit.
type forgetful struct{ pool.Pool }

func (p forgetful) Create(ctx context.Context, name string, room int64, proof pool.ReplaceProof) (pool.Draft, error) {
	d, err := p.Pool.Create(ctx, name, room, proof)
	return forgetfulDraft{d}, err
}

type forgetfulDraft struct{ pool.Draft }

func (d forgetfulDraft) WriteAt(b []byte, off int64) (int, error) {
	const lost = 600
	if off <= lost && lost < off+int64(len(b)) {
		b = slices.Clone(b)
		b[lost-off] ^= 1
	}
	return d.Draft.WriteAt(b, off)
}

// TestDamagedImage has the store lose a bit: the shard is not packed, and the
// next attempt starts again; but the number of attempts is limited.
func TestDamagedImage(t *testing.T) {
	roletest.EachKind(t, func(t *testing.T, s *roletest.Stage) {
		objects := roletest.Objects(1, 100, 20_000)
		name := s.Full(t, objects)
		sound := s.Pool.Pool
		s.Pool.Pool = forgetful{sound}
		step := step(s)
		for try := range 3 {
			s.WantQuarantined(t, "")
			worked, err := step(t.Context())
			var damage *format.DamageError
			if worked || !errors.As(err, &damage) || damage.Image != name {
				t.Fatalf("try %d: %v, %v", try, worked, err)
			}
			s.WantState(t, name, sharedbase.StateFull)
		}
		s.WantQuarantined(t, "damaged at byte", name)
		if worked, err := step(t.Context()); worked || err != nil {
			t.Fatalf("a quarantined shard: %v, %v", worked, err)
		}
		s.Pool.Pool = sound
		expect.NoError(t, s.Base.Unquarantine(t.Context(), name))
		packs(t, s)
		s.WantObjects(t, name, objects)
	})
}

// TestOneDamagedImage: a damaged image is not the third because of failures of another
// kind.
func TestOneDamagedImage(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	s.Full(t, roletest.Objects(1, 20, 1000))
	step := step(s)
	s.Pool.At = func(point roletest.Point, _ string) error {
		if point == roletest.Create {
			return pool.ErrFull
		}
		return nil
	}
	for range 2 {
		if _, err := step(t.Context()); !errors.Is(err, pool.ErrFull) {
			t.Fatalf("error %v", err)
		}
	}
	s.Pool.At = nil
	s.Pool.Pool = forgetful{s.Pool.Pool}
	if _, err := step(t.Context()); !errors.As(err, new(*format.DamageError)) {
		t.Fatalf("error %v", err)
	}
	s.WantQuarantined(t, "")
}

// TestBadShardLast: a shard whose table is damaged does not block the others, and
// is not retried.
func TestBadShardLast(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	bad := s.Full(t, []sharedbase.Object{{ID: sha256.Sum256([]byte("id")), Content: []byte("other content")}})
	good := s.Full(t, roletest.Objects(1, 10, 100))
	step := step(s)
	if worked, err := step(t.Context()); worked || err == nil || !strings.Contains(err.Error(), bad) {
		t.Fatalf("an object under a wrong id: %v, %v", worked, err)
	}
	if worked, err := step(t.Context()); !worked || err != nil {
		t.Fatalf("the next shard: %v, %v", worked, err)
	}
	s.WantState(t, good, sharedbase.StatePacked)
	s.WantState(t, bad, sharedbase.StateFull)
	s.WantQuarantined(t, fmt.Sprintf("1 objects have a checksum mismatch, the first is %x", sha256.Sum256([]byte("id"))), bad)
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

// TestDiagnosis: the search for damaged rows, which may take as long as packing, reports
// its progress and keeps the rate.
func TestDiagnosis(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	objects := roletest.Objects(1, 100, 20_000)
	size := 0.
	for _, o := range objects {
		size += float64(len(o.Content))
	}
	objects[7].ID = sha256.Sum256([]byte("id"))
	name := s.Full(t, objects)
	limit := rate.NewLimiter(1e-6, 1<<30) // so that what was taken of it can be counted
	before := 0.
	s.Pool.At = func(point roletest.Point, _ string) error {
		if point == roletest.Abort { // what follows is the diagnosis
			before = limit.Tokens()
		}
		return nil
	}
	var during []progress.Report
	p := packer.New(packer.Options{Base: s.Base, Pools: s.Pools, Log: s.Log, Rate: limit, Progress: func(r progress.Report) {
		if before > 0 {
			during = append(during, r)
		}
	}})
	if _, err := p.Step(t.Context()); err == nil || !strings.Contains(err.Error(), "the table is damaged") {
		t.Fatal(err)
	}
	s.WantQuarantined(t, "1 objects have a checksum mismatch", name)
	if len(during) == 0 || during[0].Task != packer.Diagnosing || during[0].Shard != name {
		t.Errorf("reports of the diagnosis: %v", during)
	}
	if took := before - limit.Tokens(); took < size-1 {
		t.Errorf("it took %.0f bytes of the rate, want %.0f", took, size)
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
