// SPDX-License-Identifier: GPL-3.0-or-later

package mapper_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"winery/format"
	"winery/internal/metrics"
	"winery/pool"
	"winery/pool/pooltest"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/roletest"
)

// TestDamagedImages: images that lost bytes since their commit are not recorded,
// and do not block other images.
func TestDamagedImages(t *testing.T) {
	roletest.EachKind(t, func(t *testing.T, s *roletest.Stage) {
		names := packed(t, s, 4)
		header, object := names[0], names[2]
		s.FlipBit(t, header, 3)
		s.FlipBit(t, object, 520)
		m := onHost(s, "a")
		for range 2 { // it stays an error
			_, err := m.Step(t.Context())
			var damage *format.DamageError
			if !errors.As(err, &damage) || !strings.Contains(err.Error(), header) || !strings.Contains(err.Error(), object) {
				t.Fatal(err)
			}
			wantMapped(t, s, header)
			wantMapped(t, s, object)
			wantMapped(t, s, names[1], "a")
			wantMapped(t, s, names[3], "a")
		}
		s.WantQuarantined(t, "damaged", header, object)
		s.FlipBit(t, header, 3)
		s.FlipBit(t, object, 520)
		step(t, m, true)
		wantMapped(t, s, header, "a")
		wantMapped(t, s, object, "a")
	})
}

// TestMapsNothingAgain: an image that was recorded, and is none any more, is found when
// it is mapped again.
func TestMapsNothingAgain(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	name := packed(t, s, 1)[0]
	step(t, onHost(s, "a"), true)
	expect.NoError(t, s.Pool.Unmap(t.Context(), name))
	e, err := s.Pool.Edit(t.Context(), name, pooltest.Anything{})
	expect.NoError(t, err)
	_, err = e.WriteAt(make([]byte, 512), 0)
	expect.NoError(t, errors.Join(err, e.Commit(t.Context()), e.Close()))
	if _, err := onHost(s, "a").Step(t.Context()); err == nil || !strings.Contains(err.Error(), name) {
		t.Error(err)
	}
	s.WantQuarantined(t, "damaged", name)
}

// TestAnotherImage: a whole image that is not the one that was packed is not
// recorded, and keeps its shard's table.
func TestAnotherImage(t *testing.T) {
	c := roletest.Directory(t, "")
	s := roletest.New(t, c)
	names := packed(t, s, 2)
	dir := c.BaseDirectory + "/" + c.Name + "/"
	expect.NoError(t, os.Remove(dir+names[0]))
	expect.NoError(t, os.Link(dir+names[1], dir+names[0]))
	if _, err := onHost(s, "a").Step(t.Context()); err == nil || !strings.Contains(err.Error(), "fingerprint") {
		t.Fatal(err)
	}
	wantMapped(t, s, names[0])
	wantMapped(t, s, names[1], "a")
	s.WantQuarantined(t, "fingerprint", names[0])
}

// TestQuarantinedAlready: an image that stays damaged is quarantined and counted once,
// whatever the number of steps and hosts; a quarantine for another reason stays as it is.
func TestQuarantinedAlready(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	names := packed(t, s, 2)
	found, repaired := names[0], names[1]
	expect.NoError(t, s.Base.Quarantine(t.Context(), s.Shard(t, repaired).ID, "being repaired"))
	for _, name := range names {
		s.FlipBit(t, name, 520)
	}
	counted, err := metrics.FromEnvironment(s.Log)
	expect.NoError(t, err)
	defer counted.Close()
	var first []sharedbase.Quarantined
	for i, host := range []string{"a", "a", "b"} {
		m := onHost(s, host)
		m.Metrics = counted
		if _, err := m.Step(t.Context()); err == nil || !strings.Contains(err.Error(), found) || !strings.Contains(err.Error(), repaired) {
			t.Errorf("step %d: %v", i, err)
		}
		now, err := s.Base.QuarantinedShards(t.Context())
		expect.NoError(t, err)
		if i == 0 {
			first = now
		}
		if len(now) != 2 || now[0].Reason != "being repaired" || !strings.Contains(now[1].Reason, "damaged") || !slices.EqualFunc(now, first, sameQuarantine) {
			t.Errorf("after step %d the quarantines are %v, after the first they were %v", i, now, first)
		}
	}
	families, err := counted.Registry().Gather()
	expect.NoError(t, err)
	total := 0.0
	for _, f := range families {
		if f.GetName() == "winery_quarantined_total" {
			total = f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	if total != 1 {
		t.Errorf("%v shards are counted, want 1", total)
	}
}

func sameQuarantine(a, b sharedbase.Quarantined) bool {
	return a.Shard.ID == b.Shard.ID && a.Reason == b.Reason && a.At.Equal(b.At)
}

func TestTruncatedImage(t *testing.T) {
	c := roletest.Directory(t, "")
	s := roletest.New(t, c)
	name := packed(t, s, 1)[0]
	file := c.BaseDirectory + "/" + c.Name + "/" + name
	expect.NoError(t, os.Chmod(file, 0o600))
	expect.NoError(t, os.Truncate(file, s.Image(t, name).Info().Size-1))
	expect.NoError(t, os.Chmod(file, 0o400))
	worked, err := onHost(s, "a").Step(t.Context())
	if worked || !errors.As(err, new(*format.DamageError)) || !strings.Contains(err.Error(), name) {
		t.Fatalf("%v, %v", worked, err)
	}
	wantMapped(t, s, name)
}

func TestMissingImage(t *testing.T) {
	roletest.EachKind(t, func(t *testing.T, s *roletest.Stage) {
		names := packed(t, s, 2)
		expect.NoError(t, s.Pool.Remove(t.Context(), names[0], pooltest.Anything{}))
		_, err := onHost(s, "a").Step(t.Context())
		if !errors.Is(err, pool.ErrNotFound) || !strings.Contains(err.Error(), names[0]) {
			t.Fatal(err)
		}
		wantMapped(t, s, names[0])
		wantMapped(t, s, names[1], "a")
	})
}
