// SPDX-License-Identifier: GPL-3.0-or-later

package scrub_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"

	"winery/format"
	"winery/internal/config"
	"winery/internal/containment"
	"winery/internal/imagebuild"
	"winery/internal/packer"
	"winery/internal/progress"
	"winery/internal/reader"
	"winery/internal/scrub"
	"winery/pool"
	"winery/pool/pooltest"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/roletest"
)

// repairs fails the test unless a repair leaves nothing to be found.
func repairs(t testing.TB, s *roletest.Stage, name string, says string) {
	t.Helper()
	r, err := scrubber(s).Repair(t.Context(), name, false)
	expect.NoError(t, err)
	wantFindings(t, r.Report)
	if !strings.Contains(strings.Join(r.Done, "; "), says) {
		t.Fatalf("done: %q, want %q", r.Done, says)
	}
}

// leaves fails the test unless a repair changes nothing and says why.
func leaves(t testing.TB, s *roletest.Stage, name string, says string, want ...finding) {
	t.Helper()
	r, err := scrubber(s).Repair(t.Context(), name, false)
	if len(r.Done) > 0 || !strings.Contains(fmt.Sprint(err), says) {
		t.Fatalf("done %q, error %v, want %q", r.Done, err, says)
	}
	wantFindings(t, r.Report, want...)
}

func quarantine(t testing.TB, s *roletest.Stage, name string) {
	t.Helper()
	expect.NoError(t, s.Base.Quarantine(t.Context(), s.Shard(t, name).ID, "a test"))
}

func wantQuarantined(t testing.TB, s *roletest.Stage, name string, want bool) {
	t.Helper()
	quarantined, err := s.Base.QuarantinedShards(t.Context())
	expect.NoError(t, err)
	if got := slices.ContainsFunc(quarantined, func(p sharedbase.Quarantined) bool { return p.Shard.Name == name }); got != want {
		t.Fatalf("quarantined: %v, want %v", got, want)
	}
}

// TestRebuildKeepsTheRate: writing the image again, and reading it back, keeps the rate and
// reports its progress.
func TestRebuildKeepsTheRate(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	objects := roletest.Objects(1, 100, 20_000)
	name := packed(t, s, objects)
	s.FlipBit(t, name, 3)
	size := 0.
	for _, o := range objects {
		size += float64(len(o.Content))
	}
	limit := rate.NewLimiter(1e-6, 1<<30) // so that what was taken of it can be counted
	before, after := 0., 0.
	s.Pool.At = func(point roletest.Point, _ string) error {
		switch point {
		case roletest.Create:
			before = limit.Tokens()
		case roletest.Commit:
			after = limit.Tokens()
		default:
		}
		return nil
	}
	tasks := map[progress.Task]bool{}
	r := scrubber(s)
	r.Rate, r.Progress = limit, func(r progress.Report) { tasks[r.Task] = true }
	_, err := r.Repair(t.Context(), name, false)
	expect.NoError(t, err)
	if took := before - after; took < 2*size-1 {
		t.Errorf("rebuilding took %.0f bytes of the rate, want %.0f", took, 2*size)
	}
	if !tasks[imagebuild.Writing] || !tasks[imagebuild.Verifying] {
		t.Errorf("tasks: %v", tasks)
	}
}

// A packed shard's image is rebuilt from its table, which readers use meanwhile.
func TestRepairFromTable(t *testing.T) {
	roletest.EachKind(t, func(t *testing.T, s *roletest.Stage) {
		objects := roletest.Objects(1, 300, 20_000)
		name := packed(t, s, objects)
		_, err := s.Base.RecordShardMapped(t.Context(), "host", s.Config.Name, name)
		expect.NoError(t, err)
		expect.NoError(t, s.Base.Delete(t.Context(), objects[7].ID))
		there := slices.Concat(objects[:7], objects[8:])
		r := reader.NewReader(reader.Options{Base: s.Base, Pools: s.Pools, CacheSize: 10, Log: s.Log})
		defer r.Close()
		_, position := at(t, s, name, objects[100].ID)
		// Set once: the reader closes images in the background.
		s.Pool.At = func(point roletest.Point, _ string) error {
			if point != roletest.Commit {
				return nil
			}
			s.WantState(t, name, sharedbase.StateCleaning)
			got, err := r.Get(t.Context(), objects[100].ID, nil)
			if err != nil || string(got) != string(objects[100].Content) {
				t.Errorf("while the image is made: %d bytes, %v", len(got), err)
			}
			return nil
		}
		for _, damage := range []func(){
			func() { s.FlipBit(t, name, position+9) },
			func() { s.FlipBit(t, name, 3) },
			func() { expect.NoError(t, s.Pool.Remove(t.Context(), name, pooltest.Anything{})) },
		} {
			damage()
			quarantine(t, s, name)
			repairs(t, s, name, "rebuilt the image from the table; unquarantined")
			s.WantState(t, name, sharedbase.StatePacked)
			s.WantObjects(t, name, there)
			wantQuarantined(t, s, name, false)
			if _, err := s.Image(t, name).Get(objects[7].ID); !errors.Is(err, format.ErrNotFound) {
				t.Errorf("a deleted object is in the image: %v", err)
			}
			if hosts := s.Shard(t, name).MappedOn; len(hosts) != 0 {
				t.Errorf("the new image is mapped on %v", hosts)
			}
		}
		r.Close()
		s.Pool.At = nil
		clean(t, s)
		finds(t, s, name)
	})
}

// A repair that fails once the image may be wiped leaves a shard whose image no host has
// mapped: Python's cleaner, which reads no image, would drop the table else. The shard is
// quarantined, so that no cleaner of Go Winery relies on an image that the repair, if it was
// only cut off, may still wipe.
func TestFailedRepairIsNotMapped(t *testing.T) {
	roletest.EachKind(t, func(t *testing.T, s *roletest.Stage) {
		objects := roletest.Objects(1, 300, 20_000)
		name := packed(t, s, objects)
		_, err := s.Base.RecordShardMapped(t.Context(), "host", s.Config.Name, name)
		expect.NoError(t, err)
		_, position := at(t, s, name, objects[100].ID)
		s.FlipBit(t, name, position+9)
		full := errors.New("the store is full")
		s.Pool.At = func(point roletest.Point, _ string) error {
			switch point {
			case roletest.Create:
				if hosts := s.Shard(t, name).MappedOn; len(hosts) != 0 {
					t.Errorf("mapped on %v when the image is about to be wiped", hosts)
				}
				if since, err := s.Base.QuarantinedAt(t.Context(), name); err != nil || since.IsZero() {
					t.Errorf("not quarantined when the image is about to be wiped: %v", err)
				}
			case roletest.Write:
				return full
			default:
			}
			return nil
		}
		if _, err := scrubber(s).Repair(t.Context(), name, false); !errors.Is(err, full) {
			t.Errorf("repaired: %v", err)
		}
		s.WantState(t, name, sharedbase.StatePacked)
		if hosts := s.Shard(t, name).MappedOn; len(hosts) != 0 {
			t.Errorf("mapped on %v after the repair failed", hosts)
		}
		s.WantQuarantined(t, "verify --repair", name)
		s.Pool.At = nil
		repairs(t, s, name, "rebuilt the image from the table")
		s.WantObjects(t, name, objects)
	})
}

// A row of the table that the index does not have, as Python's deleting leaves it,
// is in the image that is made, and told of.
func TestRepairFromTableWithMore(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	objects := roletest.Objects(1, 300, 5000)
	name := packed(t, s, objects)
	expect.NoError(t, s.Pool.Remove(t.Context(), name, pooltest.Anything{}))
	psql(t, s, fmt.Sprintf("DELETE FROM signature2shard WHERE signature = '\\x%x'", objects[8].ID))
	r, err := scrubber(s).Repair(t.Context(), name, false)
	expect.NoError(t, err)
	wantFindings(t, r.Report, finding{scrub.NotErased, objects[8].ID})
	s.WantQuarantined(t, "") // the new image is verified
	r, err = scrubber(s).Repair(t.Context(), name, true)
	expect.NoError(t, err)
	wantFindings(t, r.Report)
	clean(t, s)
	s.WantState(t, name, sharedbase.StateReadOnly)
}

// The head of a tile is restored from the objects of a mosaic, which are all intact.
func TestRepairTileHead(t *testing.T) {
	for kind, configured := range map[string]func(testing.TB) config.Pool{"mosaic": roletest.Mosaic, "mosaic-s3": roletest.S3} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := roletest.New(t, configured(t))
			name := readonly(t, s, roletest.Objects(1, 100, 5000)[1:])
			img, err := s.Pool.Open(t.Context(), name)
			expect.NoError(t, err)
			start := make([]byte, min(1<<16, img.Size()))
			_, err = img.ReadAt(start, 0)
			expect.NoError(t, errors.Join(err, img.Close()))
			tile := int64(bytes.Index(start, []byte{0x1e, 'S', 'W', 'H'}))
			for _, at := range []int64{tile, tile + 5, tile + 12} { // its type, its size, its checksum
				s.FlipBit(t, name, at)
				finds(t, s, name, finding{kind: scrub.ImageDamaged})
				quarantine(t, s, name)
				repairs(t, s, name, "restored heads and checksums")
				wantQuarantined(t, s, name, false)
				finds(t, s, name)
			}
		})
	}
}

// A repair that is killed leaves the table, and the next repair completes it.
func TestRepairKilled(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	objects := roletest.Objects(1, 300, 20_000)
	name := packed(t, s, objects)
	_, position := at(t, s, name, objects[100].ID)
	s.FlipBit(t, name, position+9)
	for _, point := range []roletest.Point{roletest.Create, roletest.Write, roletest.Commit, roletest.After(roletest.Commit)} {
		s.Start(t, "repair", roletest.Halt{Point: point, Nth: 1, Signal: unix.SIGKILL}).Killed(t)
		s.WantState(t, name, sharedbase.StateCleaning)
		s.Expire(t)
		_, err := s.Base.ReclaimExpired(t.Context())
		expect.NoError(t, err)
	}
	repairs(t, s, name, "") // the last one may have committed an image that is as recorded
	s.WantObjects(t, name, objects)
}

// Where the table is damaged too, the image is not touched: it may have what the
// table has not.
func TestRepairNotFromDamagedTable(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	objects := roletest.Objects(1, 300, 5000)
	name := packed(t, s, objects)
	_, position := at(t, s, name, objects[100].ID)
	s.FlipBit(t, name, position+9)
	psql(t, s, fmt.Sprintf("UPDATE shard_%s SET content = '' WHERE key = '\\x%x'", name, objects[50].ID))
	quarantine(t, s, name)
	leaves(t, s, name, "the table is damaged",
		finding{scrub.ObjectDamaged, objects[100].ID}, finding{scrub.RowDamaged, objects[50].ID})
	s.WantState(t, name, sharedbase.StatePacked)
	s.WantObjects(t, name, slices.Concat(objects[:100], objects[101:]))
	wantQuarantined(t, s, name, true)
}

// A readonly shard's image is restored in place from another pool.
func TestRepairFromAnotherPool(t *testing.T) {
	roletest.EachStore(t, func(t *testing.T, s *roletest.Stage) {
		objects := roletest.Objects(1, 300, 20_000)
		name := readonly(t, s, objects)
		another(t, s, name)
		entry, position := at(t, s, name, objects[100].ID)
		_, position2 := at(t, s, name, objects[200].ID)
		hash := s.SWHShard(t, name).Layout().HashPosition
		// Deleted and erased here, in the copy still.
		expect.NoError(t, s.Base.Delete(t.Context(), objects[7].ID))
		clean(t, s)
		there := slices.Concat(objects[:7], objects[8:])
		for what, test := range map[string]struct {
			at   []int64
			says string
		}{
			"content":     {[]int64{position + 9}, "restored 1 objects from pool other"},
			"length":      {[]int64{position}, "restored 1 objects from pool other"},
			"key":         {[]int64{entry}, "restored 1 objects from pool other"},
			"position":    {[]int64{entry + 39}, "restored 1 objects from pool other"},
			"two objects": {[]int64{position + 9, position2 + 9}, "restored 2 objects from pool other"},
			"header":      {[]int64{3}, "restored header and hash function from pool other"},
			"hash":        {[]int64{hash + 3}, "restored header and hash function from pool other"},
			"all":         {[]int64{3, hash + 3, entry, position2 + 9}, "function from pool other; restored 2 objects from pool other; unquarantined"},
		} {
			t.Run(what, func(t *testing.T) {
				quarantine(t, s, name)
				for _, at := range test.at {
					s.FlipBit(t, name, at)
				}
				repairs(t, s, name, test.says)
				s.WantObjects(t, name, there)
				wantQuarantined(t, s, name, false)
				if _, err := s.Image(t, name).Get(objects[7].ID); !errors.Is(err, format.ErrNotFound) {
					t.Errorf("an erased object came back: %v", err)
				}
			})
		}
	})
}

// An object that is deleted and erased after the scrub, before the repair has the image
// to itself, does not come back.
func TestRestoreDeletedSince(t *testing.T) {
	roletest.EachKind(t, func(t *testing.T, s *roletest.Stage) {
		objects := roletest.Objects(1, 100, 5000)
		name := readonly(t, s, objects)
		copied := &roletest.Hooked{Pool: another(t, s, name)}
		s.Pools["other"] = copied
		for _, i := range []int{50, 60} {
			_, position := at(t, s, name, objects[i].ID)
			s.FlipBit(t, name, position+9)
		}
		var once sync.Once
		copied.At = func(point roletest.Point, _ string) error {
			if point == roletest.Open { // what is to be restored is known, and not yet claimed
				once.Do(func() {
					expect.NoError(t, s.Base.Delete(t.Context(), objects[50].ID))
					clean(t, s)
				})
			}
			return nil
		}
		s.Pool.At = func(point roletest.Point, _ string) error {
			if point == roletest.Erase && deleted(t, s, name) == 0 { // the repair has the image to itself
				if _, err := s.Base.ClaimImage(t.Context(), name); !errors.Is(err, sharedbase.ErrImageClaimed) {
					t.Errorf("claimed while the image is repaired: %v", err)
				}
			}
			return nil
		}
		r, err := scrubber(s).Repair(t.Context(), name, false)
		expect.NoError(t, err)
		if len(r.Done) != 1 || !strings.Contains(r.Done[0], "restored 1 objects") {
			t.Errorf("%q", r.Done)
		}
		if _, err := s.Image(t, name).Get(objects[50].ID); !errors.Is(err, format.ErrNotFound) {
			t.Errorf("the deleted object: %v", err)
		}
		s.WantObjects(t, name, slices.Concat(objects[:50], objects[51:]))
		if left := deleted(t, s, name); left != 0 {
			t.Errorf("%d objects are marked", left)
		}
	})
}

// An object that is deleted while it is restored is erased again afterwards: its mark
// stays as long as the repair has the image.
func TestDeletedWhileRestored(t *testing.T) {
	roletest.EachKind(t, func(t *testing.T, s *roletest.Stage) {
		objects := roletest.Objects(1, 100, 5000)
		name := readonly(t, s, objects)
		another(t, s, name)
		_, position := at(t, s, name, objects[50].ID)
		s.FlipBit(t, name, position+9)
		var once sync.Once
		s.Pool.At = func(point roletest.Point, _ string) error {
			if point == roletest.Erase { // the first write of the repair
				once.Do(func() {
					expect.NoError(t, s.Base.Delete(t.Context(), objects[50].ID))
					clean(t, s)
				})
			}
			return nil
		}
		_, err := scrubber(s).Repair(t.Context(), name, false)
		expect.NoError(t, err)
		s.Pool.At = nil
		if left := deleted(t, s, name); left != 1 {
			t.Errorf("%d objects are marked, want 1", left)
		}
		clean(t, s)
		if _, err := s.Image(t, name).Get(objects[50].ID); !errors.Is(err, format.ErrNotFound) {
			t.Errorf("the deleted object: %v", err)
		}
		finds(t, s, name)
	})
}

// deleted is how many objects are to be erased from a shard's image.
func deleted(t testing.TB, s *roletest.Stage, name string) int {
	t.Helper()
	ids, err := s.Base.DeletedObjects(t.Context(), s.Shard(t, name).ID, 1000)
	expect.NoError(t, err)
	return len(ids)
}

// TestQuarantinedWhileVerified: a repair ends the quarantine from before its last scrub,
// and no later one.
func TestQuarantinedWhileVerified(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	name := readonly(t, s, roletest.Objects(1, 20, 1000))
	for _, before := range []bool{false, true} {
		if before {
			quarantine(t, s, name)
		}
		s.Pool.At = func(p roletest.Point, _ string) error {
			if p == roletest.Open {
				return s.Base.Quarantine(t.Context(), s.Shard(t, name).ID, "found by another process")
			}
			return nil
		}
		_, err := scrubber(s).Repair(t.Context(), name, false)
		if q, ok := errors.AsType[*sharedbase.QuarantinedError](err); !ok || q.Reason != "found by another process" {
			t.Errorf("error %v", err)
		}
		s.WantQuarantined(t, "found by another process", name)
		s.Pool.At = nil
		repairs(t, s, name, "unquarantined")
	}
}

// TestRepairNewerImage: the quarantine of a full shard stays while its pool has an image with
// objects that its table does not have.
func TestRepairNewerImage(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	objects := roletest.Objects(1, 30, 1000)
	name := s.Full(t, objects[:20])
	roletest.Put(t, s.Pool, name, objects)
	p := packer.New(packer.Options{Base: s.Base, Pools: s.Pools, Log: s.Log})
	if _, err := p.Step(t.Context()); !errors.Is(err, containment.ErrNotContained) {
		t.Fatalf("packing: %v", err)
	}
	r, err := scrubber(s).Repair(t.Context(), name, false)
	expect.NoError(t, err)
	wantFindings(t, r.Report, finding{scrub.NewerImage, none})
	if len(r.Done) > 0 || !strings.Contains(r.Findings[0].Text, "`wineryctl index reconcile`") {
		t.Errorf("done %q, found %q", r.Done, r.Findings[0].Text)
	}
	wantQuarantined(t, s, name, true)

	expect.NoError(t, s.Pool.Remove(t.Context(), name, pooltest.Anything{}))
	roletest.Put(t, s.Pool, name, objects[:10]) // which a packer replaces
	repairs(t, s, name, "unquarantined")
	wantQuarantined(t, s, name, false)
	_, err = p.Step(t.Context())
	expect.NoError(t, err)
	s.WantState(t, name, sharedbase.StatePacked)
}

// What cannot be repaired stays as it is.
func TestUnrepairable(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	objects := roletest.Objects(1, 300, 20_000)
	name := readonly(t, s, objects)
	_, position := at(t, s, name, objects[100].ID)
	s.FlipBit(t, name, position+9)
	damaged := finding{scrub.ObjectDamaged, objects[100].ID}
	leaves(t, s, name, "no other pool", damaged)

	other := another(t, s, name)
	leaves(t, s, name, "", damaged) // the copy has the same damage
	s.FlipBit(t, name, 3)
	head := finding{scrub.HeadDamaged, none}
	leaves(t, s, name, "not an SWHShard", func() finding { // the copy's head, too
		e, err := other.Edit(t.Context(), name, pooltest.Anything{})
		expect.NoError(t, err)
		_, err = e.WriteAt([]byte("x"), 3)
		expect.NoError(t, errors.Join(err, e.Close()))
		return head
	}())
	e, err := other.Edit(t.Context(), name, pooltest.Anything{})
	expect.NoError(t, err)
	_, err = e.WriteAt([]byte("S"), 3)
	expect.NoError(t, errors.Join(err, e.Close()))
	psql(t, s, "UPDATE winery_image SET fingerprint = sha256('another')")
	leaves(t, s, name, "not the one that was packed", head)
	psql(t, s, "DELETE FROM winery_image")
	leaves(t, s, name, "no record of the image", head)

	expect.NoError(t, s.Pool.Remove(t.Context(), name, pooltest.Anything{}))
	r, err := scrubber(s).Repair(t.Context(), name, false)
	expect.NoError(t, err)
	wantFindings(t, r.Report, finding{scrub.ImageMissing, none})
	if want := "wineryctl shards migrate files other --image " + name + " --no-transfer"; !strings.Contains(r.Findings[0].Text, want) {
		t.Errorf("%q", r.Findings[0].Text)
	}
}

// Objects that the index does not have are erased only on request, and never an
// object that the index has.
func TestErase(t *testing.T) {
	roletest.EachKind(t, func(t *testing.T, s *roletest.Stage) {
		objects := roletest.Objects(1, 300, 5000)
		name := readonly(t, s, objects)
		psql(t, s, fmt.Sprintf("DELETE FROM signature2shard WHERE signature IN ('\\x%x', '\\x%x')", objects[5].ID, objects[6].ID))
		left := []finding{{scrub.NotErased, objects[5].ID}, {scrub.NotErased, objects[6].ID}}
		leaves(t, s, name, "", left...)
		s.Pool.At = func(point roletest.Point, _ string) error {
			if point == roletest.Edit { // its row is back
				psql(t, s, fmt.Sprintf("INSERT INTO signature2shard VALUES ('\\x%x', 'present', %d) ON CONFLICT DO NOTHING",
					objects[6].ID, s.Shard(t, name).ID))
			}
			return nil
		}
		r, err := scrubber(s).Repair(t.Context(), name, true)
		expect.NoError(t, err)
		wantFindings(t, r.Report)
		if len(r.Done) != 1 || !strings.Contains(r.Done[0], "erased 1 objects") {
			t.Errorf("%q", r.Done)
		}
		s.WantObjects(t, name, slices.Concat(objects[:5], objects[6:]))
	})
}

// Repair does not touch an image that another process edits, or a shard that
// another process holds.
func TestRepairInUse(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	objects := roletest.Objects(1, 100, 5000)
	name := readonly(t, s, objects)
	another(t, s, name)
	_, position := at(t, s, name, objects[50].ID)
	s.FlipBit(t, name, position+9)
	e, err := s.Pool.Edit(t.Context(), name, pooltest.Anything{})
	expect.NoError(t, err)
	if _, err := scrubber(s).Repair(t.Context(), name, false); !errors.Is(err, pool.ErrInUse) {
		t.Errorf("%v", err)
	}
	expect.NoError(t, e.Close())
	repairs(t, s, name, "restored 1 objects")

	held := packed(t, s, roletest.Objects(2, 100, 5000)[1:])
	expect.NoError(t, s.Pool.Remove(t.Context(), held, pooltest.Anything{}))
	_, err = s.Base.WithOneShard(t.Context(), sharedbase.StatePacked, sharedbase.StateCleaning, sharedbase.ClaimFilter{Name: held},
		func(ctx context.Context, _ *sharedbase.Claim) error {
			if _, err := scrubber(s).Repair(ctx, held, false); err == nil || !strings.Contains(err.Error(), "cannot be claimed") {
				t.Errorf("%v", err)
			}
			return nil
		})
	expect.NoError(t, err)
	repairs(t, s, held, "rebuilt the image from the table")
}
