// SPDX-License-Identifier: GPL-3.0-or-later

package cleaner_test

import (
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"winery/format"
	"winery/internal/cleaner"
	"winery/internal/imagebuild"
	"winery/internal/mapper"
	"winery/internal/packer"
	"winery/internal/progress"
	"winery/pool"
	"winery/pool/pooltest"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/roletest"
	"winery/test/s3test"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(s3test.Tests{M: m}) }

// wanting is a cleaner that wants images to be mapped on so many hosts.
func wanting(s *roletest.Stage, hosts int) *cleaner.Cleaner {
	return cleaner.New(cleaner.Options{Base: s.Base, Pools: s.Pools, MinMappedHosts: hosts, Log: s.Log})
}

// packed makes a shard and packs it.
func packed(t *testing.T, s *roletest.Stage, objects []sharedbase.Object) (name string) {
	t.Helper()
	name = s.Full(t, objects)
	worked, err := packer.New(packer.Options{Base: s.Base, Pools: s.Pools, Log: s.Log}).Step(t.Context())
	expect.NoError(t, err)
	if !worked {
		t.Fatal("nothing was packed")
	}
	s.WantState(t, name, sharedbase.StatePacked)
	return name
}

func mapOn(t *testing.T, s *roletest.Stage, host string) {
	t.Helper()
	m := mapper.New(mapper.Options{Base: s.Base, Pools: s.Pools, Host: host, Log: s.Log})
	_, err := m.Step(t.Context())
	expect.NoError(t, err)
}

// step fails the test unless a cleaner's step works, or finds nothing to do.
func step(t *testing.T, c *cleaner.Cleaner, want bool) {
	t.Helper()
	worked, err := roletest.Clean(c)(t.Context())
	expect.NoError(t, err)
	if worked != want {
		t.Fatalf("worked: %v, want %v", worked, want)
	}
}

// wantTable fails the test unless a shard has its table with n objects, or,
// with n < 0, has none.
func wantTable(t *testing.T, s *roletest.Stage, name string, n int64) {
	t.Helper()
	got, _, err := s.Base.TableSize(t.Context(), name)
	if errors.Is(err, sharedbase.ErrNoTable) {
		got, err = -1, nil
	}
	expect.NoError(t, err)
	if got != n {
		t.Fatalf("the table of shard %s has %d objects, want %d (-1: no table)", name, got, n)
	}
}

// wantGone fails the test unless objects have left index and image.
func wantGone(t *testing.T, s *roletest.Stage, name string, objects ...sharedbase.Object) {
	t.Helper()
	marked := deletedIn(t, s, name)
	for _, o := range objects {
		if slices.Contains(marked, o.ID) {
			t.Errorf("object %x is still marked deleted", o.ID)
		}
	}
	r := s.Image(t, name)
	for _, o := range objects {
		if _, err := r.Get(o.ID); !errors.Is(err, format.ErrNotFound) {
			t.Errorf("object %x in the image: %v", o.ID, err)
		}
	}
	if _, err := r.Verify(t.Context(), nil); err != nil {
		t.Error(err) // all other bytes are as they should be
	}
}

// deletedIn lists what is to be erased from a shard's image.
func deletedIn(t *testing.T, s *roletest.Stage, name string) []sharedbase.ObjID {
	t.Helper()
	ids, err := s.Base.DeletedObjects(t.Context(), s.Shard(t, name).ID, 1_000_000)
	expect.NoError(t, err)
	return ids
}

// TestWholePath takes shards from full to readonly with the other roles, with
// objects deleted on the way, and reads everything back.
func TestWholePath(t *testing.T) {
	roletest.EachKind(t, func(t *testing.T, s *roletest.Stage) {
		objects := [][]sharedbase.Object{roletest.Objects(1, 400, 20_000), roletest.Objects(2, 400, 20_000)[1:]}
		var names []string
		for _, o := range objects {
			names = append(names, packed(t, s, o))
		}
		clean := wanting(s, 2)
		mapOn(t, s, "a")
		step(t, clean, false)
		mapOn(t, s, "b")
		expect.NoError(t, s.Base.Delete(t.Context(), objects[0][0].ID))
		expect.NoError(t, s.Base.Delete(t.Context(), objects[0][9].ID))
		wantTable(t, s, names[0], 398)
		step(t, clean, true)
		expect.NoError(t, s.Base.Delete(t.Context(), objects[1][3].ID))
		step(t, clean, true)
		clean.Progress = func(p progress.Report) { t.Errorf("nothing is left to do, but %s", p) }
		step(t, clean, false)
		for i, name := range names {
			s.WantState(t, name, sharedbase.StateReadOnly)
			wantTable(t, s, name, -1)
			kept := slices.Concat(objects[0][1:9], objects[0][10:])
			if i == 1 {
				kept = slices.Concat(objects[1][:3], objects[1][4:])
			}
			s.WantObjects(t, name, kept)
			if n, err := s.Base.CountObjects(t.Context(), name); err != nil || n != int64(len(kept)) {
				t.Errorf("the index has %d objects (%v), want %d", n, err, len(kept))
			}
		}
		wantGone(t, s, names[0], objects[0][0], objects[0][9])
		wantGone(t, s, names[1], objects[1][3])
	})
}

// TestRefusesToDrop: where index, table and image disagree nothing is lost, and
// other shards are cleaned all the same.
func TestRefusesToDrop(t *testing.T) {
	objects := roletest.Objects(1, 40, 3000)[1:]
	others := roletest.Objects(2, 40, 3000)[1:]
	for name, spoil := range map[string]func(t *testing.T, s *roletest.Stage, name, other string){
		"header": func(t *testing.T, s *roletest.Stage, name, _ string) { s.FlipBit(t, name, 3) },
		"count":  func(t *testing.T, s *roletest.Stage, name, _ string) { s.FlipBit(t, name, 47) }, // 39 → 38
		"bytes": func(t *testing.T, s *roletest.Stage, name, _ string) {
			r := s.SWHShard(t, name)
			for at := int64(520); at < r.Layout().IndexPosition; at += 128 { // some in each object
				s.FlipBit(t, name, at)
			}
		},
		"one byte": func(t *testing.T, s *roletest.Stage, name, _ string) { s.FlipBit(t, name, 30_000) },
		"another shard's image": func(t *testing.T, s *roletest.Stage, name, other string) {
			copyImage(t, s, other, name)
		},
		"no image": func(t *testing.T, s *roletest.Stage, name, _ string) {
			expect.NoError(t, s.Pool.Remove(t.Context(), name, pooltest.Anything{}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := roletest.New(t, roletest.Directory(t, ""))
			bad, good := packed(t, s, objects), packed(t, s, others)
			spoil(t, s, bad, good)
			worked, err := roletest.Clean(wanting(s, 0))(t.Context())
			if err == nil || !worked {
				t.Fatalf("%v, %v", worked, err)
			}
			t.Log(err)
			s.WantState(t, bad, sharedbase.StatePacked)
			wantTable(t, s, bad, 39)
			s.WantState(t, good, sharedbase.StateReadOnly)
			if errors.Is(err, pool.ErrNotFound) {
				s.WantQuarantined(t, "") // its directory may not be mounted, say
			} else {
				s.WantQuarantined(t, "", bad)
			}
		})
	}
}

// copyImage puts the bytes of one image into another's place.
func copyImage(t *testing.T, s *roletest.Stage, from, to string) {
	t.Helper()
	src, err := s.Pool.Open(t.Context(), from)
	expect.NoError(t, err)
	dst, err := s.Pool.Create(t.Context(), to, 0, pooltest.Anything{})
	expect.NoError(t, err)
	_, err = io.Copy(io.NewOffsetWriter(dst, 0), io.NewSectionReader(src, 0, src.Size()))
	expect.NoError(t, err)
	expect.NoError(t, dst.Commit(t.Context()))
	expect.NoError(t, src.Close())
}

// TestRefusesLostRows: an index row without content must not be covered up.
func TestRefusesLostRows(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	name := packed(t, s, roletest.Objects(1, 40, 3000)[1:])
	sql := fmt.Sprintf("DELETE FROM shard_%[1]s WHERE key = (SELECT key FROM shard_%[1]s LIMIT 1)", name)
	if out, err := exec.CommandContext(t.Context(), "psql", s.DSN, "-c", sql).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if _, err := roletest.Clean(wanting(s, 0))(t.Context()); err == nil {
		t.Fatal("it dropped the table")
	}
	s.WantState(t, name, sharedbase.StatePacked)
	wantTable(t, s, name, 38)
	s.WantQuarantined(t, "the index has 39 objects, the table has 38", name)
}

// TestTwoCleaners clean and erase side by side.
func TestTwoCleaners(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	var names []string
	var deleted []sharedbase.Object
	for i := range uint64(6) {
		objects := roletest.Objects(i, 30, 3000)[1:]
		names = append(names, packed(t, s, objects))
		expect.NoError(t, s.Base.Delete(t.Context(), objects[0].ID))
		deleted = append(deleted, objects[0])
	}
	done := make(chan error)
	for range 2 {
		c := wanting(s, 0)
		go func() {
			for {
				worked, err := roletest.Clean(c)(t.Context())
				if err != nil || !worked {
					done <- err
					return
				}
			}
		}()
	}
	for range 2 {
		expect.NoError(t, <-done)
	}
	step(t, wanting(s, 0), false)
	for i, name := range names {
		s.WantState(t, name, sharedbase.StateReadOnly)
		wantGone(t, s, name, deleted[i])
	}
}

// TestCountingMayTakeLong: the table is counted within an hour, of which the supervisor is
// told, and of its end.
func TestCountingMayTakeLong(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	name := packed(t, s, roletest.Objects(1, 10, 100)[1:])
	var got []progress.Report
	c := wanting(s, 0)
	c.Progress = func(r progress.Report) { got = append(got, r) }
	step(t, c, true)
	want := []progress.Report{
		{Task: cleaner.Dropping, Shard: name},
		{Task: imagebuild.Counting, Shard: name, Limit: time.Hour},
		{Task: cleaner.Dropping, Shard: name},
	}
	if !slices.Equal(got, want) {
		t.Errorf("reports %+v", got)
	}
}
