// SPDX-License-Identifier: GPL-3.0-or-later

package migrator_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"winery/format"
	"winery/internal/cleaner"
	"winery/internal/migrator"
	"winery/internal/progress"
	"winery/internal/storage"
	"winery/pool"
	"winery/pool/pooltest"
	"winery/shard"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/pgtest"
	"winery/test/roletest"
)

func TestThereAndBack(t *testing.T) {
	eachWay(t, func(t *testing.T, s *stage) {
		all := s.old(t)
		_, err := s.Base.RecordShardMapped(t.Context(), "host", s.From.Name(), image)
		expect.NoError(t, err)
		m := s.migrator()
		tasks := map[progress.Task]progress.Report{}
		m.Progress = func(p progress.Report) { tasks[p.Task] = p }
		moved, err := m.Migrate(t.Context(), image)
		expect.NoError(t, err)
		if !moved.Copied || !moved.Recorded || moved.Objects != int64(len(all)) || moved.Bytes < 9<<20 {
			t.Errorf("%+v", moved)
		}
		for _, last := range tasks {
			if last.Done != last.Total || last.Total < 9<<20 {
				t.Errorf("the last report is %+v", last)
			}
		}
		if len(tasks) != 2 {
			t.Errorf("tasks: %v", tasks)
		}
		s.wantPool(t, s.Pool)
		if hosts := s.Shard(t, image).MappedOn; len(hosts) != 0 {
			t.Errorf("mapped on %v", hosts)
		}
		s.WantObjects(t, image, all)

		// And back, where the source is still: it is checked, and used.
		back := &migrator.Migrator{Base: s.Base, From: s.Pool, To: s.From}
		moved, err = back.Migrate(t.Context(), image)
		expect.NoError(t, err)
		if moved.Copied || !moved.Recorded {
			t.Errorf("back: %+v", moved)
		}
		s.wantPool(t, s.From)
	})
}

// A file has no blocks where the image has zeros, and ends where it does.
func TestSparse(t *testing.T) {
	s := newStage(t, directory(t, "old"), directory(t, "new"))
	s.old(t)
	moved := s.migrate(t)
	info, err := os.Stat(filepath.Join(s.Config.BaseDirectory, "new", image))
	expect.NoError(t, err)
	if used := info.Sys().(*syscall.Stat_t).Blocks * 512; info.Size() != moved.Bytes || used > info.Size()-3<<20 {
		t.Errorf("%d bytes on disk of %d, the image has %d", used, info.Size(), moved.Bytes)
	}
}

func TestKilled(t *testing.T) {
	points := func(points ...roletest.Point) func(*testing.T, *stage) {
		return func(t *testing.T, s *stage) {
			all := s.old(t)
			from, err := json.Marshal(s.FromConfig)
			expect.NoError(t, err)
			t.Setenv(fromEnv, string(from))
			for _, point := range points {
				nth := 1
				if point == roletest.Write {
					nth = 2 // in the middle
				}
				s.Start(t, role, roletest.Halt{Point: point, Nth: nth, Signal: unix.SIGKILL}).Killed(t)
				s.wantPool(t, s.From)
				s.Extend(t)
				if _, err := s.migrator().Migrate(t.Context(), image); !errors.Is(err, sharedbase.ErrImageClaimed) {
					t.Fatalf("while the dead migrator's lease holds: %v", err)
				}
				s.Expire(t)
			}
			if moved := s.migrate(t); !moved.Recorded || moved.Objects != int64(len(all)) {
				t.Errorf("%+v", moved)
			}
			s.wantPool(t, s.Pool)
			s.WantObjects(t, image, all)
			if names, err := s.Pool.List(t.Context()); err != nil || len(names) != 1 {
				t.Errorf("the new pool has %v, %v", names, err)
			}
		}
	}
	t.Run("directory to directory", func(t *testing.T) {
		s := newStage(t, directory(t, "old"), directory(t, "new"))
		points(roletest.Create, roletest.Write, roletest.Commit, roletest.Open)(t, s)
		if left, _ := filepath.Glob(filepath.Join(s.Config.BaseDirectory, "new", "*")); len(left) != 1 {
			t.Errorf("left behind: %v", left)
		}
	})
	t.Run("directory to directory, committed", func(t *testing.T) {
		points(roletest.Committed)(t, newStage(t, directory(t, "old"), directory(t, "new")))
	})
	// The dead one's locks on both are waited for, half a minute.
	t.Run("rbd to rbd", func(t *testing.T) {
		points(roletest.Write)(t, newStage(t, rbd(t), rbd(t)))
	})
}

func TestCorrupt(t *testing.T) {
	eachWay(t, func(t *testing.T, s *stage) {
		all := s.old(t)
		entry, _ := s.openOld(t).EntryRange(all[len(all)-1].ID)
		content, header, index := int64(600), int64(2), entry+35
		for _, at := range []int64{content, header, index} {
			edit(t, s.From, at)
			_, err := s.migrator().Migrate(t.Context(), image)
			var damage *format.DamageError
			if !errors.As(err, &damage) || !strings.Contains(err.Error(), "pool "+s.From.Name()) {
				t.Fatalf("byte %d: error %v", at, err)
			}
			s.wantPool(t, s.From)
			s.wantNoCopy(t)
			edit(t, s.From, at)
		}
		s.migrate(t)
	})
}

func (s *stage) openOld(t testing.TB) *shard.Reader {
	t.Helper()
	img, err := s.From.Pool.Open(t.Context(), image)
	expect.NoError(t, err)
	t.Cleanup(func() { expect.NoError(t, img.Close()) })
	r, err := shard.Open(img, img.Size(), image)
	expect.NoError(t, err)
	return r
}

// A copy that is damaged on its way is not recorded, and not left.
func TestDamagedCopy(t *testing.T) {
	s := newStage(t, directory(t, "old"), rbd(t))
	s.old(t)
	s.Pool.At = func(p roletest.Point, _ string) error {
		if p == roletest.Committed {
			edit(t, s.Pool.Pool, 600)
		}
		return nil
	}
	_, err := s.migrator().Migrate(t.Context(), image)
	if !errors.As(err, new(*format.DamageError)) || !strings.Contains(err.Error(), "pool "+s.Pool.Name()) {
		t.Fatalf("error %v", err)
	}
	s.wantPool(t, s.From)
	s.wantNoCopy(t)
}

// An object that is deleted while its image is copied is erased in the copy.
func TestDeletedMeanwhile(t *testing.T) {
	eachWay(t, func(t *testing.T, s *stage) {
		all := s.old(t)
		victim := all[7]
		clean := cleaner.New(cleaner.Options{Base: s.Base, Log: s.Log, Pools: storage.Set{s.From.Name(): s.From, s.Pool.Name(): s.Pool}})
		var once atomic.Bool
		s.Pool.At = func(p roletest.Point, _ string) error {
			if p != roletest.Write || once.Swap(true) {
				return nil
			}
			err := s.Base.Delete(context.Background(), victim.ID)
			erased, cleanErr := clean.EraseDeleted(context.Background())
			if erased != 0 {
				t.Errorf("erased %d objects in an image that is being copied", erased)
			}
			return errors.Join(err, cleanErr)
		}
		s.migrate(t)
		if erased, err := clean.EraseDeleted(t.Context()); erased != 1 || err != nil {
			t.Fatalf("erased %d, %v", erased, err)
		}
		if _, err := s.Image(t, image).Get(victim.ID); !errors.Is(err, format.ErrNotFound) {
			t.Errorf("the copy's object: %v", err)
		}
		s.WantObjects(t, image, append(all[:7:7], all[8:]...))
	})
}

// A copy of an interrupted migration is not used if the source was edited since.
func TestErasedSince(t *testing.T) {
	eachWay(t, func(t *testing.T, s *stage) {
		all := s.old(t)
		m := s.migrator()
		m.NoRecord = true
		moved, err := m.Migrate(t.Context(), image)
		expect.NoError(t, err)
		if !moved.Copied || moved.Recorded {
			t.Errorf("--no-db-update: %+v", moved)
		}
		s.wantPool(t, s.From)
		expect.NoError(t, s.Base.Delete(t.Context(), all[7].ID))
		clean := cleaner.New(cleaner.Options{Base: s.Base, Log: s.Log, Pools: storage.Set{s.From.Name(): s.From}})
		if erased, err := clean.EraseDeleted(t.Context()); erased != 1 || err != nil {
			t.Fatalf("erased %d, %v", erased, err)
		}
		m = s.migrator()
		m.NoTransfer = true
		if _, err := m.Migrate(t.Context(), image); err == nil || !strings.Contains(err.Error(), "erased") {
			t.Fatalf("a copy with an erased object was accepted: %v", err)
		}
		s.wantPool(t, s.From)
		if moved := s.migrate(t); !moved.Copied || moved.Objects != int64(len(all)-1) {
			t.Errorf("%+v", moved)
		}
		if _, err := s.Image(t, image).Get(all[7].ID); !errors.Is(err, format.ErrNotFound) {
			t.Errorf("the copy's object: %v", err)
		}
	})
}

// An image in the new pool is not replaced by a damaged one, whatever is wrong with it:
// it may be the only one with some object.
func TestDamagedSourceReplacesNothing(t *testing.T) {
	eachWay(t, func(t *testing.T, s *stage) {
		all := s.old(t)
		m := s.migrator()
		m.NoRecord = true
		_, err := m.Migrate(t.Context(), image)
		expect.NoError(t, err)
		eraseIn(t, s.From, all[7].ID)
		edit(t, s.From, 600)
		refused := func() {
			t.Helper()
			_, err := s.migrator().Migrate(t.Context(), image)
			if !errors.As(err, new(*format.DamageError)) || !strings.Contains(err.Error(), "pool "+s.From.Name()) {
				t.Errorf("error %v", err)
			}
			s.wantPool(t, s.From)
		}
		refused() // another object was erased in the source since
		s.WantObjects(t, image, all)
		edit(t, s.Pool, 100_000)
		refused() // the copy is damaged, too, in another object
		edit(t, s.Pool, 100_000)
		s.WantObjects(t, image, all)
	})
}

func TestNoTransfer(t *testing.T) {
	s := newStage(t, directory(t, "old"), directory(t, "new"))
	all := s.old(t)
	m := s.migrator()
	m.NoTransfer = true
	_, err := m.Migrate(t.Context(), image)
	wantError(t, err, migrator.ErrSkipped, "not in pool ", s.Pool.Name())
	roletest.Put(t, s.Pool, image, all[:5])
	_, err = m.Migrate(t.Context(), image)
	if err == nil {
		t.Fatal("another image was accepted")
	}
	s.wantPool(t, s.From)
	expect.NoError(t, s.From.Remove(t.Context(), image, pooltest.Anything{}))
	_, err = m.Migrate(t.Context(), image)
	wantError(t, err, sharedbase.ErrOtherImage, "the image has 5 objects")
	s.wantPool(t, s.From)
	// Without a record of the image, the index alone says which objects it must have.
	pgtest.Exec(t, s.DSN, "DELETE FROM winery_image")
	roletest.Put(t, s.Pool, image, append(roletest.Objects(77, 2, 3000)[1:], all[1:]...))
	_, err = m.Migrate(t.Context(), image)
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("does not have object %x", all[0].ID)) {
		t.Fatalf("an image with as many objects, but not all of the index: %v", err)
	}
	s.wantPool(t, s.From)
	roletest.Put(t, s.Pool, image, all)
	moved, err := m.Migrate(t.Context(), image)
	expect.NoError(t, err)
	if moved.Copied || !moved.Recorded {
		t.Errorf("%+v", moved)
	}
	s.wantPool(t, s.Pool)
}

func TestSkipped(t *testing.T) {
	s := newStage(t, directory(t, "old"), directory(t, "new"))
	try := func(is error, says ...any) {
		t.Helper()
		_, err := s.migrator().Migrate(t.Context(), image)
		wantError(t, err, is, says...)
	}
	roletest.Put(t, s.From, image, objects())
	try(migrator.ErrSkipped, "has no shard of this name")
	s.record(t)
	editor, err := s.From.Edit(t.Context(), image, pooltest.Anything{})
	expect.NoError(t, err)
	try(pool.ErrInUse)
	expect.NoError(t, editor.Close())
	s.wantNoCopy(t)
	s.migrate(t)
	try(migrator.ErrSkipped, "in pool new already")
	claim, err := s.Base.ClaimImage(t.Context(), image)
	expect.NoError(t, err)
	expect.NoError(t, errors.Join(claim.MoveShard(t.Context(), "third", nil), claim.Release(t.Context())))
	try(migrator.ErrSkipped, "in pool third")

	full := s.FullIn(t, "old", roletest.Objects(9, 3, 100))
	_, err = s.migrator().Migrate(t.Context(), full)
	wantError(t, err, migrator.ErrSkipped, "the shard is full")
	copying := s.migrator()
	copying.NoRecord = true
	_, err = copying.Migrate(t.Context(), full)
	wantError(t, err, migrator.ErrSkipped, "the shard is full")
}

// Only for a shard of the old pool is something replaced in the new one.
func TestOtherImageStays(t *testing.T) {
	s := newStage(t, directory(t, "old"), directory(t, "new"))
	all := objects()
	roletest.Put(t, s.From, image, all)
	roletest.Put(t, s.Pool, image, all[:5])
	m := s.migrator()
	m.NoRecord = true
	if _, err := m.Migrate(t.Context(), image); err == nil {
		t.Error("an image that the database does not know was replaced")
	}
	s.WantObjects(t, image, all[:5])
	s.record(t)
	s.migrate(t)
	s.WantObjects(t, image, all)
}

// A pool whose images are usually smaller makes a larger one.
func TestLargerThanUsual(t *testing.T) {
	s := newStage(t, directory(t, "old"), roletest.RBD(t))
	s.old(t)
	s.migrate(t)
	s.WantObjects(t, image, objects())
}

// A migrator stops when its context ends, and the database is unchanged.
func TestStopped(t *testing.T) {
	s := newStage(t, directory(t, "old"), rbd(t))
	s.old(t)
	ctx, cancel := context.WithCancel(t.Context())
	s.Pool.At = func(p roletest.Point, _ string) error {
		if p == roletest.Write {
			cancel()
		}
		return nil
	}
	if _, err := s.migrator().Migrate(ctx, image); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	s.wantPool(t, s.From)
	s.Pool.At = nil
	s.migrate(t)
}
