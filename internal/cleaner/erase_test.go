// SPDX-License-Identifier: GPL-3.0-or-later

package cleaner_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"winery/internal/packer"
	"winery/pool"
	"winery/pool/pooltest"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/roletest"
)

// TestDeletedBeforeImage: while a shard has no image its marks stay, since the pool
// may have an image that no database knows of; and an object may come back, into
// the same shard. Once the shard is packed the marks go.
func TestDeletedBeforeImage(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	objects := roletest.Objects(1, 20, 1000)
	claim, err := s.Base.CreateShard(t.Context(), s.Config.Name)
	expect.NoError(t, err)
	_, err = s.Base.Add(t.Context(), claim, objects)
	expect.NoError(t, err)
	for i, to := range []sharedbase.ShardState{sharedbase.StateStandby, sharedbase.StateFull} {
		expect.NoError(t, s.Base.Delete(t.Context(), objects[0].ID))
		step(t, wanting(s, 0), false) // while writing
		_, err = s.Base.Add(t.Context(), claim, objects[:1])
		expect.NoError(t, err)
		expect.NoError(t, claim.SetState(t.Context(), to))
		expect.NoError(t, s.Base.Delete(t.Context(), objects[i+1].ID))
		step(t, wanting(s, 0), false)
		if marked := deletedIn(t, s, claim.Name()); len(marked) != i+1 {
			t.Errorf("%d objects are marked, want %d", len(marked), i+1)
		}
		wantTable(t, s, claim.Name(), int64(20-i-1))
		if to == sharedbase.StateStandby {
			claim, err = s.Base.LockWritingShard(t.Context(), s.Config.Name)
			expect.NoError(t, err)
		}
	}
	_, err = packer.New(packer.Options{Base: s.Base, Pools: s.Pools, Log: s.Log}).Step(t.Context())
	expect.NoError(t, err)
	step(t, wanting(s, 1), true)
	wantGone(t, s, claim.Name(), objects[1:3]...)
	s.WantObjects(t, claim.Name(), append(objects[:1:1], objects[3:]...))
}

// TestDeletedWhilePacking: what a packer had read already is left alone until
// the shard is packed, and erased from the image then.
func TestDeletedWhilePacking(t *testing.T) {
	roletest.EachKind(t, func(t *testing.T, s *roletest.Stage) {
		objects := roletest.Objects(1, 500, 30_000) // more than a block of 4 MiB
		victim := objects[42]
		name := s.Full(t, objects)
		writing, release := make(chan struct{}), make(chan struct{})
		var writes atomic.Int64
		s.Pool.At = func(p roletest.Point, _ string) error {
			if p == roletest.Write && writes.Add(1) == 2 { // the first one wipes the header
				close(writing)
				<-release
			}
			return nil
		}
		done := make(chan error)
		go func() {
			_, err := packer.New(packer.Options{Base: s.Base, Pools: s.Pools, Log: s.Log}).Step(t.Context())
			done <- err
		}()
		<-writing
		expect.NoError(t, s.Base.Delete(t.Context(), victim.ID))
		step(t, wanting(s, 0), false)
		s.WantState(t, name, sharedbase.StatePacking)
		close(release)
		expect.NoError(t, <-done)
		s.Pool.At = nil
		s.WantObjects(t, name, objects) // the victim too
		step(t, wanting(s, 0), true)
		s.WantState(t, name, sharedbase.StateReadOnly)
		wantGone(t, s, name, victim)
		s.WantObjects(t, name, slices.Concat(objects[:42], objects[43:]))
	})
}

// TestErasesWhilePacked: erasing does not wait for the table to go, nor does it
// keep it from going.
func TestErasesWhilePacked(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	objects := roletest.Objects(1, 50, 3000)
	name := packed(t, s, objects)
	for _, o := range objects[:40] {
		expect.NoError(t, s.Base.Delete(t.Context(), o.ID))
	}
	step(t, wanting(s, 1), true)
	s.WantState(t, name, sharedbase.StatePacked)
	wantGone(t, s, name, objects[:40]...)
	step(t, wanting(s, 0), true)
	s.WantState(t, name, sharedbase.StateReadOnly)
	s.WantObjects(t, name, objects[40:])
}

// TestAddedAgain: an object that came back in another shard is erased where it
// was before, and only there, also if it is deleted and comes back once more.
func TestAddedAgain(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	objects := roletest.Objects(1, 20, 3000)
	images := []string{packed(t, s, objects)}
	for range 2 {
		expect.NoError(t, s.Base.Delete(t.Context(), objects[5].ID))
		images = append(images, packed(t, s, objects[5:6]))
	}
	step(t, wanting(s, 1), true)
	step(t, wanting(s, 1), false)
	for _, name := range images[:2] {
		wantGone(t, s, name, objects[5])
	}
	where, err := s.Base.Locate(t.Context(), []sharedbase.ObjID{objects[5].ID})
	expect.NoError(t, err)
	if where[0].Shard != images[2] {
		t.Errorf("the object is in %q, want %q", where[0].Shard, images[2])
	}
	s.WantObjects(t, images[2], objects[5:6])
}

// TestImageInUse: an image that another cleaner has claimed is left to it. One that a client
// without a claim can write to is an error, until a person has ended that.
func TestImageInUse(t *testing.T) {
	roletest.EachKind(t, func(t *testing.T, s *roletest.Stage) {
		objects := roletest.Objects(1, 20, 3000)
		name := packed(t, s, objects)
		expect.NoError(t, s.Base.Delete(t.Context(), objects[5].ID))
		claim, err := s.Base.ClaimImage(t.Context(), name)
		expect.NoError(t, err)
		step(t, wanting(s, 1), false)
		expect.NoError(t, claim.Release(t.Context()))
		e, err := s.Pool.Pool.Edit(t.Context(), name, pooltest.Anything{})
		expect.NoError(t, err)
		erased, err := wanting(s, 1).EraseDeleted(t.Context())
		if erased != 0 || !errors.Is(err, pool.ErrInUse) || !strings.Contains(err.Error(), name) {
			t.Errorf("erased %d, %v", erased, err)
		}
		s.WantQuarantined(t, "")
		expect.NoError(t, e.Close())
		step(t, wanting(s, 1), true)
		wantGone(t, s, name, objects[5])
	})
}

// TestBadImageAlone: an image that cannot be erased in stops no other; its shard
// is quarantined, and its objects stay marked.
func TestBadImageAlone(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	var names []string
	var deleted []sharedbase.Object
	for i := range uint64(3) {
		objects := roletest.Objects(i, 20, 3000)[1:]
		names = append(names, packed(t, s, objects))
		expect.NoError(t, s.Base.Delete(t.Context(), objects[0].ID))
		deleted = append(deleted, objects[0])
	}
	s.FlipBit(t, names[1], 3)
	worked, err := roletest.Clean(wanting(s, 1))(t.Context())
	if !worked || err == nil || !strings.Contains(err.Error(), names[1]) {
		t.Fatalf("%v, %v", worked, err)
	}
	wantGone(t, s, names[0], deleted[0])
	wantGone(t, s, names[2], deleted[2])
	s.FlipBit(t, names[1], 3)
	step(t, wanting(s, 1), false) // quarantined until a person says so
	expect.NoError(t, s.Base.Unquarantine(t.Context(), names[1]))
	step(t, wanting(s, 1), true)
	wantGone(t, s, names[1], deleted[1])
}

// badSector makes the middle byte of an object unreadable, in the pool of s.
func badSector(t *testing.T, s *roletest.Stage, name string, o sharedbase.Object) *roletest.BadSector {
	t.Helper()
	img, err := s.Pool.Pool.Open(t.Context(), name)
	expect.NoError(t, err)
	all, err := io.ReadAll(io.NewSectionReader(img, 0, img.Size()))
	expect.NoError(t, errors.Join(err, img.Close()))
	sector := &roletest.BadSector{Pool: s.Pool.Pool}
	sector.At.Store(int64(bytes.Index(all, o.Content) + len(o.Content)/2))
	s.Pool.Pool = sector
	return sector
}

// TestUnreadableObject: an object that cannot be read stays as it is, with its mark, and
// the others are erased. Once it can be read, it is erased, too.
func TestUnreadableObject(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	objects := roletest.Objects(1, 20, 3000)
	name := packed(t, s, objects)
	deleted := objects[3:8]
	for _, o := range deleted {
		expect.NoError(t, s.Base.Delete(t.Context(), o.ID))
	}
	bad := deleted[2]
	sector := badSector(t, s, name, bad)
	for _, want := range []int64{int64(len(deleted)) - 1, 0} {
		erased, err := wanting(s, 0).EraseDeleted(t.Context())
		if erased != want || !errors.Is(err, unix.EIO) || !strings.Contains(err.Error(), fmt.Sprintf("%x", bad.ID)) {
			t.Errorf("erased %d objects, want %d; %v", erased, want, err)
		}
		if marked := deletedIn(t, s, name); !slices.Equal(marked, []sharedbase.ObjID{bad.ID}) {
			t.Errorf("%d objects are marked, want the one that cannot be read", len(marked))
		}
	}
	s.WantQuarantined(t, "")
	if sector.At.Swap(-1) < 0 {
		t.Error("the object that cannot be read was overwritten")
	}
	wantGone(t, s, name, slices.Concat(deleted[:2], deleted[3:])...)
	s.WantObjects(t, name, []sharedbase.Object{bad})
	step(t, wanting(s, 1), true)
	wantGone(t, s, name, deleted...)
}

// TestUnreadableInManyBatches: one object that cannot be read delays no batch: all others are
// erased in one step.
func TestUnreadableInManyBatches(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	objects := roletest.Objects(1, 2500, 3000)
	name := packed(t, s, objects)
	for _, o := range objects {
		expect.NoError(t, s.Base.Delete(t.Context(), o.ID))
	}
	badSector(t, s, name, objects[77])
	erased, err := wanting(s, 0).EraseDeleted(t.Context())
	if erased != int64(len(objects)-1) || !errors.Is(err, unix.EIO) {
		t.Errorf("erased %d objects, %v", erased, err)
	}
	if marked := deletedIn(t, s, name); !slices.Equal(marked, []sharedbase.ObjID{objects[77].ID}) {
		t.Errorf("%d objects are marked, want the one that cannot be read", len(marked))
	}
}

// TestStopped ends the context in the middle: nothing is half done that another
// step does not complete.
func TestStopped(t *testing.T) {
	for _, point := range []roletest.Point{roletest.Open, roletest.Edit, roletest.Erase, roletest.Flush} {
		t.Run(string(point), func(t *testing.T) {
			s := roletest.New(t, roletest.Directory(t, ""))
			objects := roletest.Objects(1, 20, 3000)
			name := packed(t, s, objects)
			expect.NoError(t, s.Base.Delete(t.Context(), objects[5].ID))
			ctx, stop := context.WithCancel(t.Context())
			s.Pool.At = func(p roletest.Point, _ string) error {
				if p == point {
					stop()
				}
				return nil
			}
			if _, err := roletest.Clean(wanting(s, 0))(ctx); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			s.Pool.At = nil
			step(t, wanting(s, 0), true)
			s.WantState(t, name, sharedbase.StateReadOnly)
			wantGone(t, s, name, objects[5])
		})
	}
}

// TestAnotherImage: in an image that is not the one that was packed nothing is
// erased, and the marks stay: an object could be taken for absent there.
func TestAnotherImage(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	objects := roletest.Objects(1, 20, 3000)
	name, other := packed(t, s, objects), packed(t, s, roletest.Objects(2, 20, 3000)[1:])
	expect.NoError(t, s.Base.Delete(t.Context(), objects[5].ID))
	copyImage(t, s, other, name)
	worked, err := roletest.Clean(wanting(s, 2))(t.Context())
	if worked || err == nil || !strings.Contains(err.Error(), "fingerprint") {
		t.Fatalf("%v, %v", worked, err)
	}
	s.WantQuarantined(t, "fingerprint", name)
	expect.NoError(t, s.Base.Unquarantine(t.Context(), name))
	if marked := deletedIn(t, s, name); len(marked) != 1 {
		t.Errorf("%d objects are marked, want 1", len(marked))
	}
}

// deleteAll marks all objects of a shard deleted, but for the first kept.
func deleteAll(t testing.TB, s *roletest.Stage, objects []sharedbase.Object, kept int) {
	t.Helper()
	for _, o := range objects[kept:] {
		expect.NoError(t, s.Base.Delete(t.Context(), o.ID))
	}
}

// TestStoppedBetweenBatches: batches that were erased before a cleaner was
// stopped stay erased, and the next cleaner continues from there.
func TestStoppedBetweenBatches(t *testing.T) {
	roletest.EachInPlace(t, func(t *testing.T, s *roletest.Stage) {
		objects := roletest.Objects(1, 2600, 200)
		objects = slices.CompactFunc(objects, func(a, b sharedbase.Object) bool { return a.ID == b.ID })
		name := packed(t, s, objects)
		deleteAll(t, s, objects, 100)
		marked := len(deletedIn(t, s, name))
		ctx, stop := context.WithCancel(t.Context())
		var flushes atomic.Int32
		batch := map[string]int32{"SWHShard": 4, "Mosaic": 6}[s.Pool.Format().Name()] // flushes
		s.Pool.At = func(p roletest.Point, _ string) error {
			if p == roletest.Flush && flushes.Add(1) == batch+1 {
				stop()
			}
			return nil
		}
		erased, err := wanting(s, 0).EraseDeleted(ctx)
		if erased != 1000 || !errors.Is(err, context.Canceled) {
			t.Fatalf("erased %d, %v", erased, err)
		}
		if left := len(deletedIn(t, s, name)); left != marked-1000 {
			t.Errorf("%d of %d objects are marked", left, marked)
		}
		s.Pool.At = nil
		erased, err = wanting(s, 0).EraseDeleted(t.Context())
		if erased != int64(marked-1000) || err != nil {
			t.Errorf("erased %d, %v", erased, err)
		}
		wantGone(t, s, name, objects[100:]...)
		s.WantObjects(t, name, objects[:100])
	})
}

// TestSlowImage: an image in which nothing gets done stops no other.
func TestSlowImage(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	var names []string
	for i := range uint64(6) {
		objects := roletest.Objects(i, 20, 3000)[1:]
		names = append(names, packed(t, s, objects))
		deleteAll(t, s, objects, 10)
	}
	others := make(chan struct{}, len(names))
	s.Pool.At = func(p roletest.Point, image string) error {
		switch {
		case p == roletest.CloseEdit && image != names[0]:
			others <- struct{}{}
		case p == roletest.Edit && image == names[0]:
			for range len(names) - 1 {
				select {
				case <-others:
				case <-time.After(time.Minute):
					return errors.New("the others wait for this image")
				}
			}
		}
		return nil
	}
	if erased, err := wanting(s, 0).EraseDeleted(t.Context()); erased != 6*9 || err != nil {
		t.Errorf("erased %d, %v", erased, err)
	}
}

// TestQuarantinedBeforeErasing: if a shard is quarantined after its image was
// claimed, nothing is erased in the image.
func TestQuarantinedBeforeErasing(t *testing.T) {
	roletest.EachKind(t, func(t *testing.T, s *roletest.Stage) {
		objects := roletest.Objects(1, 20, 3000)
		name := packed(t, s, objects)
		expect.NoError(t, s.Base.Delete(t.Context(), objects[5].ID))
		s.Pool.At = func(p roletest.Point, _ string) error {
			switch p {
			case roletest.Edit:
				return s.Base.Quarantine(t.Context(), s.Shard(t, name).ID, "a person wants to look")
			case roletest.Erase:
				t.Error("a byte was written")
			default:
			}
			return nil
		}
		erased, err := wanting(s, 0).EraseDeleted(t.Context())
		if erased != 0 || err == nil || !strings.Contains(err.Error(), "a person wants to look") {
			t.Fatalf("erased %d, %v", erased, err)
		}
		s.WantObjects(t, name, objects)
		if marked := deletedIn(t, s, name); len(marked) != 1 {
			t.Errorf("%d objects are marked, want 1", len(marked))
		}
	})
}
