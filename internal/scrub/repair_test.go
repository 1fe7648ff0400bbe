// SPDX-License-Identifier: GPL-3.0-or-later

package scrub_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"winery/internal/config"
	"winery/internal/containment"
	"winery/internal/packer"
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
