// SPDX-License-Identifier: GPL-3.0-or-later

package packer_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"winery/format"
	"winery/pool"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/roletest"
)

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
