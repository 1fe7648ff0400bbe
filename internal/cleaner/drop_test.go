// SPDX-License-Identifier: GPL-3.0-or-later

package cleaner_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"winery/pool"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/pgtest"
	"winery/test/roletest"
)

// unsteady is a pool of which one byte reads wrongly through the first handle.
type unsteady struct {
	pool.Pool
	at    int64
	first sync.Once
}

func (u *unsteady) Open(ctx context.Context, name string) (img pool.Image, err error) {
	img, err = u.Pool.Open(ctx, name)
	u.first.Do(func() { img = flipped{img, u.at} })
	return img, err
}

type flipped struct {
	pool.Image
	at int64
}

func (f flipped) ReadAt(b []byte, off int64) (int, error) {
	n, err := f.Image.ReadAt(b, off)
	if off <= f.at && f.at < off+int64(n) {
		b[f.at-off] ^= 1
	}
	return n, err
}

// TestReadsDiffer: an object that read wrongly once keeps its table. The shard is not
// quarantined, since it may be this host that is at fault; the next try may drop.
func TestReadsDiffer(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	name := packed(t, s, roletest.Objects(1, 40, 3000)[1:])
	s.Pool.Pool = &unsteady{Pool: s.Pool.Pool, at: 30_000}
	worked, err := wanting(s, 0).DropTables(t.Context())
	if worked || err == nil || !strings.Contains(err.Error(), "reads differ") {
		t.Fatalf("%v, %v", worked, err)
	}
	s.WantState(t, name, sharedbase.StatePacked)
	wantTable(t, s, name, 39)
	s.WantQuarantined(t, "")
	step(t, wanting(s, 0), true)
	s.WantState(t, name, sharedbase.StateReadOnly)
}

// TestTableIsGone: a packed shard whose table Python's cleaner dropped before it failed
// becomes readonly, if its image has each object that the index has.
func TestTableIsGone(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	objects := roletest.Objects(1, 40, 3000)[1:]
	name, damaged := packed(t, s, objects), packed(t, s, roletest.Objects(2, 40, 3000)[1:])
	s.FlipBit(t, damaged, 30_000)
	pgtest.Exec(t, s.DSN, "DROP TABLE shard_"+name+", shard_"+damaged)
	worked, err := wanting(s, 0).DropTables(t.Context())
	if !worked || err == nil || !strings.Contains(err.Error(), damaged) || strings.Contains(err.Error(), name) {
		t.Fatalf("%v, %v", worked, err)
	}
	s.WantState(t, name, sharedbase.StateReadOnly)
	s.WantObjects(t, name, objects)
	s.WantState(t, damaged, sharedbase.StatePacked)
	s.WantQuarantined(t, "", damaged)
	step(t, wanting(s, 0), false)
}

// TestTooManyFindings: findings that allow a drop, but are so many that the scrub
// stopped before it had told of damage, forbid it.
func TestTooManyFindings(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	objects := roletest.Objects(1, 10_300, 60)[1:]
	name := packed(t, s, objects)
	slices.SortFunc(objects, func(a, b sharedbase.Object) int { return slices.Compare(b.ID[:], a.ID[:]) })
	last := objects[0]
	rows, _, err := s.Base.TableSize(t.Context(), name)
	expect.NoError(t, err)
	pgtest.Exec(t, s.DSN, "DELETE FROM signature2shard WHERE signature <> $1", last.ID[:])
	content, err := s.Image(t, name).Get(last.ID)
	expect.NoError(t, err)
	s.FlipBit(t, name, position(t, s, name, content))
	worked, err := wanting(s, 0).DropTables(t.Context())
	if worked || err == nil {
		t.Fatalf("%v, %v", worked, err)
	}
	wantTable(t, s, name, rows)
	s.WantQuarantined(t, "", name)
}

// position is where an image has some bytes.
func position(t *testing.T, s *roletest.Stage, name string, content []byte) int64 {
	t.Helper()
	img, err := s.Pool.Pool.Open(t.Context(), name)
	expect.NoError(t, err)
	all := make([]byte, img.Size())
	_, _ = img.ReadAt(all, 0)
	expect.NoError(t, img.Close())
	at := strings.Index(string(all), string(content))
	if at < 0 {
		t.Fatal(fmt.Errorf("image %s does not have the bytes", name))
	}
	return int64(at)
}

// TestQuarantinedBeforeDrop: a shard that is quarantined while its image is verified
// keeps its table.
func TestQuarantinedBeforeDrop(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	name := packed(t, s, roletest.Objects(1, 40, 3000)[1:])
	s.Pool.At = func(p roletest.Point, _ string) error {
		if p == roletest.Close {
			return s.Base.Quarantine(t.Context(), s.Shard(t, name).ID, "a person wants to look")
		}
		return nil
	}
	worked, err := wanting(s, 0).DropTables(t.Context())
	if worked || err == nil || !strings.Contains(err.Error(), "a person wants to look") {
		t.Fatalf("%v, %v", worked, err)
	}
	s.WantState(t, name, sharedbase.StatePacked)
	wantTable(t, s, name, 39)
}

// TestNothingIsReadInVain: the image of a shard whose table cannot be dropped now is not
// read, and the shard stays as it is.
func TestNothingIsReadInVain(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	name := packed(t, s, roletest.Objects(1, 40, 3000)[1:])
	mapOn(t, s, "a")
	s.Pool.At = func(p roletest.Point, _ string) error {
		t.Errorf("the pool was asked: %s", p)
		return nil
	}
	c := wanting(s, 1)
	refuses := func(why error) {
		t.Helper()
		for range 2 {
			if worked, err := c.DropTables(t.Context()); worked || !errors.Is(err, why) || !strings.Contains(err.Error(), name) {
				t.Errorf("%v, %v, want %v", worked, err, why)
			}
		}
		s.WantState(t, name, sharedbase.StatePacked)
	}
	dumped := pgtest.Hold(t, s.DSN, "LOCK TABLE shard_"+name+" IN ACCESS SHARE MODE") // as pg_dump does
	refuses(sharedbase.ErrTableInUse)
	dumped()
	pgtest.Exec(t, s.DSN, "ALTER FUNCTION winery_drop_table SET winery.min_mapped_hosts = '2'")
	refuses(sharedbase.ErrTooFewHosts)
	s.Pool.At = nil
	mapOn(t, s, "b")
	step(t, c, true)
}
