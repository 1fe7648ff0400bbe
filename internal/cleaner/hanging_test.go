// SPDX-License-Identifier: GPL-3.0-or-later

package cleaner_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"winery/internal/cleaner"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/logtest"
	"winery/test/roletest"
)

// callTimeout is that of the cleaners here: longer than a call takes on a busy machine.
const callTimeout = 5 * time.Second

func impatient(s *roletest.Stage) *cleaner.Cleaner {
	c := wanting(s, 0)
	c.CallTimeout = callTimeout
	return c
}

// beside returns a stage with the same database and another pool. The roles of both have
// both pools.
func beside(t *testing.T, s *roletest.Stage) *roletest.Stage {
	t.Helper()
	other := *s
	other.Config = roletest.Directory(t, "")
	other.Config.Name = "other"
	other.Pool = &roletest.Hooked{Pool: roletest.OpenPools(t, true, other.Config)["other"]}
	t.Cleanup(func() { other.Pool.WantNoHandles(t) })
	s.Pools["other"] = other.Pool
	return &other
}

// hanging is an operation of some images that ignores its context.
type hanging struct {
	begun atomic.Int64
	ended chan struct{}
	end   func()
}

// hang has an operation of images hang until end is called.
func hang(s *roletest.Stage, at roletest.Point, images ...string) *hanging {
	h := &hanging{ended: make(chan struct{})}
	h.end = sync.OnceFunc(func() { close(h.ended) })
	s.Pool.At = func(p roletest.Point, image string) error {
		if p == at && slices.Contains(images, image) {
			h.begun.Add(1)
			<-h.ended
		}
		return nil
	}
	return h
}

// TestHangingPoolBlocksNoDrop: images that hang keep no table of another pool from being
// dropped, also by cleaners that know nothing of them yet; each is left behind, and left
// alone until its call returns.
func TestHangingPoolBlocksNoDrop(t *testing.T) {
	t.Parallel()
	s := roletest.New(t, roletest.Directory(t, ""))
	other := beside(t, s)
	hung := []string{packed(t, s, roletest.Objects(1, 10, 1000)[1:]), packed(t, s, roletest.Objects(2, 10, 1000)[1:])}
	h := hang(s, roletest.Open, hung...)
	defer h.end()
	var log logtest.Log
	s.Log = log.Logger(slog.LevelWarn)
	var last *cleaner.Cleaner
	for i := range uint64(3) {
		good := packed(t, other, roletest.Objects(10+i, 10, 1000)[1:])
		last = impatient(s)
		done := make(chan error, 1)
		go func() {
			_, err := last.DropTables(t.Context())
			done <- err
		}()
		expect.Eventually(t, "the table of the other pool to be dropped", func() bool {
			return s.Shard(t, good).State == sharedbase.StateReadOnly
		})
		err := <-done
		for _, name := range hung {
			if err == nil || !strings.Contains(err.Error(), "dropping the table of shard "+name) {
				t.Errorf("the error does not name %s: %v", name, err)
			}
			s.WantState(t, name, sharedbase.StatePacked)
			wantTable(t, s, name, 9)
		}
		s.WantQuarantined(t, "")
	}
	for _, name := range hung {
		lines := log.Lines("shard=" + name)
		if len(lines) != 3 || !strings.Contains(lines[0], "pool=files") || !strings.Contains(lines[0], "dropping the table of") ||
			!strings.Contains(lines[0], "has not returned for 5s") {
			t.Errorf("of three cleaners, the log has %q", lines)
		}
	}
	began := h.begun.Load()
	if _, err := last.DropTables(t.Context()); err == nil || !strings.Contains(err.Error(), "an earlier call has not returned") || h.begun.Load() != began {
		t.Errorf("%d calls, then %d: %v", began, h.begun.Load(), err)
	}
	h.end()
	expect.Eventually(t, "the tables to be dropped once the calls have returned", func() bool {
		_, err := last.DropTables(t.Context())
		return err == nil
	})
	for _, name := range hung {
		s.WantState(t, name, sharedbase.StateReadOnly)
	}
}

// TestHangingPoolBlocksNoErasing: however many images hang, objects of another pool are
// erased, and few calls of the pool hang.
func TestHangingPoolBlocksNoErasing(t *testing.T) {
	const maxCalls = 4 + 4 - 1
	t.Parallel()
	s := roletest.New(t, roletest.Directory(t, ""))
	other := beside(t, s)
	var hung []string
	for i := range uint64(10) {
		objects := roletest.Objects(i, 5, 1000)[1:]
		hung = append(hung, packed(t, s, objects))
		expect.NoError(t, s.Base.Delete(t.Context(), objects[0].ID))
	}
	h := hang(s, roletest.Open, hung...)
	defer h.end()
	var log logtest.Log
	s.Log = log.Logger(slog.LevelWarn)
	c := impatient(s)
	for i := range uint64(2) {
		objects := roletest.Objects(20+i, 10, 1000)[1:]
		good := packed(t, other, objects)
		expect.NoError(t, s.Base.Delete(t.Context(), objects[0].ID))
		done := make(chan error, 1)
		go func() {
			_, err := c.EraseDeleted(t.Context())
			done <- err
		}()
		expect.Eventually(t, "the object of the other pool to be erased", func() bool { return len(deletedIn(t, s, good)) == 0 })
		wantGone(t, other, good, objects[0])
		if err := <-done; err == nil || !strings.Contains(err.Error(), "images do not answer") {
			t.Error(err)
		}
	}
	if n := h.begun.Load(); n > maxCalls {
		t.Errorf("%d calls hang, want at most %d", n, maxCalls)
	}
	if lines := log.Lines("pool does not answer"); len(lines) != 2 || !strings.Contains(lines[0], "pool=files") {
		t.Errorf("of two rounds, the log has %q", lines)
	}
	h.end()
	expect.Eventually(t, "all objects to be erased once the calls have returned", func() bool {
		_, err := c.EraseDeleted(t.Context())
		return err == nil
	})
	for _, name := range hung {
		if left := deletedIn(t, s, name); len(left) != 0 {
			t.Errorf("%d objects of %s are marked", len(left), name)
		}
	}
}

// TestHangingWrite: what comes back after it was left behind writes nothing more and records
// nothing; another cleaner can claim the image meanwhile, and a later round erases.
func TestHangingWrite(t *testing.T) {
	t.Parallel()
	roletest.EachInPlace(t, func(t *testing.T, s *roletest.Stage) {
		objects := roletest.Objects(1, 50, 3000)[1:]
		name := packed(t, s, objects)
		expect.NoError(t, s.Base.Delete(t.Context(), objects[5].ID))
		h := hang(s, roletest.Erase, name)
		defer h.end()
		hangs, closed := s.Pool.At, make(chan struct{})
		nth := map[string]int64{"SWHShard": 2, "Mosaic": 5}[s.Pool.Format().Name()] // more would follow at once
		var writes atomic.Int64
		s.Pool.At = func(p roletest.Point, image string) error {
			if p == roletest.After(roletest.CloseEdit) && h.begun.Load() > 0 {
				close(closed)
			}
			if p == roletest.Erase && writes.Add(1) < nth {
				return nil
			}
			return hangs(p, image)
		}
		c := impatient(s)
		// On a busy machine another call may take longer than callTimeout, before the write.
		expect.Eventually(t, "the write to hang", func() bool {
			writes.Store(0)
			erased, err := c.EraseDeleted(t.Context())
			if erased != 0 || err == nil || !strings.Contains(err.Error(), "erasing deleted objects of shard "+name) {
				t.Fatalf("erased %d, %v", erased, err)
			}
			return h.begun.Load() > 0
		})
		claim, err := s.Base.ClaimImage(t.Context(), name)
		expect.NoError(t, err)
		expect.NoError(t, claim.Release(t.Context()))
		h.end()
		<-closed
		if n := writes.Load(); n != nth {
			t.Errorf("%d writes, want none after the one that hung, number %d", n, nth)
		}
		if marked := deletedIn(t, s, name); len(marked) != 1 {
			t.Errorf("%d objects are marked, want 1", len(marked))
		}
		s.WantQuarantined(t, "")
		s.Pool.At = nil
		total := int64(0)
		expect.Eventually(t, "the object to be erased by a later round", func() bool {
			erased, err := c.EraseDeleted(t.Context())
			total += erased
			return total == 1 && err == nil
		})
		wantGone(t, s, name, objects[5])
		s.WantObjects(t, name, slices.Concat(objects[:5], objects[6:]))
	})
}

// TestSlowRead: an image whose calls all return in time is read to its end, however long
// that takes.
func TestSlowRead(t *testing.T) {
	t.Parallel()
	s := roletest.New(t, roletest.Directory(t, ""))
	name := packed(t, s, roletest.Objects(1, 10, 1000)[1:])
	c := impatient(s)
	c.CallTimeout *= 2 // the test may stand still for two thirds of it
	began, reads := time.Now(), 0
	s.Pool.At = func(p roletest.Point, _ string) error {
		if p == roletest.Read {
			reads++
			<-time.After(c.CallTimeout / 3) // a slow device
		}
		return nil
	}
	step(t, c, true)
	s.WantState(t, name, sharedbase.StateReadOnly)
	if took := time.Since(began); took < c.CallTimeout {
		t.Errorf("%d reads took %v, less than one may take", reads, took)
	}
}

// TestStopWhileAnImageHangs: a cleaner that is stopped waits for no call that hangs.
func TestStopWhileAnImageHangs(t *testing.T) {
	for what, step := range map[string]func(*cleaner.Cleaner, context.Context) error{
		"dropping": func(c *cleaner.Cleaner, ctx context.Context) error { _, err := c.DropTables(ctx); return err },
		"erasing":  func(c *cleaner.Cleaner, ctx context.Context) error { _, err := c.EraseDeleted(ctx); return err },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := roletest.New(t, roletest.Directory(t, ""))
			objects := roletest.Objects(1, 10, 1000)[1:]
			name := packed(t, s, objects)
			expect.NoError(t, s.Base.Delete(t.Context(), objects[0].ID))
			h := hang(s, roletest.Read, name)
			defer h.end()
			at, reading, closed := s.Pool.At, make(chan struct{}), make(chan struct{})
			s.Pool.At = func(p roletest.Point, image string) error {
				switch p {
				case roletest.Read:
					close(reading)
				case roletest.After(roletest.Close):
					close(closed)
				default:
				}
				return at(p, image)
			}
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- step(wanting(s, 0), ctx) }()
			<-reading
			stop()
			select {
			case err := <-done:
				if !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			case <-time.After(time.Minute):
				t.Error("the cleaner waits for a call that hangs")
			}
			s.WantState(t, name, sharedbase.StatePacked)
			h.end()
			<-closed
		})
	}
}
