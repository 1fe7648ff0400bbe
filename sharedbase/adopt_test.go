// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"winery/sharedbase"
)

// adopting is an adoption that is in flight.
type adopting struct {
	goOn chan struct{} // closed to let it read the keys
	done <-chan error
	sharedbase.Adopted
}

// adopt begins to adopt an image with the objects, and returns when it waits for goOn.
func adopt(t testing.TB, c *sharedbase.Claim, objects ...sharedbase.Object) *adopting {
	t.Helper()
	a := &adopting{goOn: make(chan struct{})}
	begun := make(chan struct{})
	keys := ids(objects...)
	slices.SortFunc(keys, func(x, y sharedbase.ObjID) int { return bytes.Compare(x[:], y[:]) })
	a.done = background(func() (err error) {
		a.Adopted, err = c.AdoptImage(t.Context(), "p", sharedbase.ImageRecord{Objects: int64(len(keys))}, func(yield func(sharedbase.ObjID, error) bool) {
			close(begun)
			<-a.goOn
			for _, key := range keys {
				if !yield(key, nil) {
					return
				}
			}
		})
		return err
	})
	select {
	case <-begun:
	case err := <-a.done:
		t.Fatalf("adopting: %v", err)
	}
	return a
}

// A deletion that found its object in a shard that is adopting an image finds it again
// in the shard that the object was moved to.
func TestDeleteOfMovedObject(t *testing.T) {
	b, conn := newBase(t)
	b.SetLockWait(time.Minute)
	imaged, other := object("in the image"), object("in the table only")
	s := shardIn(t, b, sharedbase.StateStandby, imaged, other)
	a := adopt(t, claim(t, b, s, sharedbase.StateWriting), imaged)
	deleting := background(func() error { return b.Delete(t.Context(), other.ID) })
	blocked(t, conn, 1) // by the shard's row
	close(a.goOn)
	if err := <-a.done; err != nil {
		t.Fatal(err)
	}
	if err := <-deleting; err != nil {
		t.Errorf("deleting: %v", err)
	}
	absent(t, b, other)
	if n := count(t, conn, "SELECT count(*) FROM shard_"+a.MovedTo); n != 0 || a.Moved != 1 {
		t.Errorf("%d objects were moved, the table has %d", a.Moved, n)
	}
}

// Deletions and an adoption do not wait for each other in a circle: both lock index rows
// before the table. During packing a deletion does not lock the shard.
func TestDeleteWhileAdopting(t *testing.T) {
	b, conn := newBase(t)
	b.SetLockWait(time.Minute)
	early, imaged, other, kept := object("early"), object("in the image"), object("in the table only"), object("kept")
	s := shardIn(t, b, sharedbase.StateFull, early, imaged, other, kept)
	reader := must(connect(t, conn.Config().ConnString()).Begin(t.Context()))(t)
	must(reader.Exec(t.Context(), "SELECT FROM shard_"+s.Name))(t)
	a := adopt(t, claim(t, b, s, sharedbase.StatePacking), imaged, kept)

	if err := b.Delete(t.Context(), early.ID); err != nil { // reading the image's keys hinders none
		t.Errorf("deleting during the adoption: %v", err)
	}
	close(a.goOn)
	blocked(t, conn, 1) // the adoption, by the table's reader
	deleting := []<-chan error{
		background(func() error { return b.Delete(t.Context(), imaged.ID) }),
		background(func() error { return b.Delete(t.Context(), other.ID) }),
	}
	blocked(t, conn, 3)
	if err := reader.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-a.done; err != nil {
		t.Errorf("adopting: %v", err)
	}
	for _, done := range deleting {
		if err := <-done; err != nil {
			t.Errorf("deleting: %v", err)
		}
	}
	for _, o := range []sharedbase.Object{early, imaged, other} {
		absent(t, b, o)
	}
	if marked := deletedIn(t, b, s.ID); !slices.Contains(marked, imaged.ID) {
		t.Errorf("to be erased from the image: %x", marked)
	}
	if a.Objects != 2 || a.New != 0 || a.Moved != 1 {
		t.Errorf("adopted %+v", a.Adopted)
	}
}
