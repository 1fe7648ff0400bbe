// SPDX-License-Identifier: GPL-3.0-or-later

package packer_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"winery/internal/metrics"
	"winery/internal/packer"
	"winery/pool"
	"winery/sharedbase"
	"winery/test/cephtest"
	"winery/test/expect"
	"winery/test/pgtest"
	"winery/test/roletest"
)

// TestDiskFull packs onto a file system that is too small, and again once it
// was made larger.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	expect.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"))
	t.Cleanup(func() { expect.NoError(t, unix.Unmount(dir, 0)) })
	s := roletest.New(t, roletest.Directory(t, dir))
	objects := roletest.Objects(1, 500, 20_000)
	name := s.Full(t, objects)
	s.Pool.At = func(point roletest.Point, _ string) error {
		if point == roletest.Write {
			t.Error("a disk that is too small was written to")
		}
		return nil
	}
	worked, err := step(s)(t.Context())
	if worked || !errors.Is(err, pool.ErrFull) || !strings.Contains(err.Error(), "bytes are needed, ") {
		t.Fatalf("%v, %v", worked, err)
	}
	s.Pool.At = nil
	s.WantState(t, name, sharedbase.StateFull)
	expect.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size=16m"))
	packs(t, s)
	s.WantObjects(t, name, objects)
}

// TestQuota does the same with the quota of a Ceph pool.
func TestQuota(t *testing.T) {
	s := roletest.New(t, roletest.RBD(t))
	s.Full(t, roletest.Objects(1, 100, 20_000))
	objects := roletest.Objects(2, 100, 20_000)[1:]
	name := s.Full(t, objects)
	conn := cephtest.Connect(t)
	ceph := func(command map[string]any) []byte { return cephtest.Command(t, conn, command) }
	quota := func(bytes string) {
		ceph(map[string]any{"prefix": "osd pool set-quota", "pool": s.Config.DataPool, "field": "max_bytes", "val": bytes})
	}
	waitFull := func(want bool) {
		t.Helper()
		deadline := time.Now().Add(time.Minute)
		for isFull(t, s.Config.DataPool, ceph(map[string]any{"prefix": "osd dump", "format": "json"})) != want {
			if time.Now().After(deadline) {
				t.Fatal("Ceph does not notice its quota")
			}
			<-time.After(200 * time.Millisecond)
		}
	}
	packs(t, s)
	quota("100000")
	waitFull(true)
	if worked, err := step(s)(t.Context()); worked || !errors.Is(err, pool.ErrFull) {
		t.Fatalf("%v, %v", worked, err)
	}
	s.WantState(t, name, sharedbase.StateFull)
	quota("0")
	waitFull(false)
	// A client that connects now has the current map, and no OSD answers it by an older one.
	s.Pool.Pool = roletest.OpenPools(t, true, s.Config)[s.Config.Name]
	packs(t, s)
	s.WantObjects(t, name, objects)
}

// TestCostlyFailure: a shard whose packing failed late is postponed for the
// duration of the attempt, and then for twice as long; other shards are not.
func TestCostlyFailure(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	name := s.Full(t, roletest.Objects(1, 20, 1000))
	p := packer.New(packer.Options{Base: s.Base, Pools: s.Pools, Log: s.Log})
	now := time.Now()
	p.SetClock(func() time.Time { return now })
	late := errors.New("late failure")
	s.Pool.At = func(point roletest.Point, image string) error {
		if point == roletest.Commit && image == name {
			now = now.Add(20 * time.Minute)
			return late
		}
		return nil
	}
	for try, pause := range []time.Duration{20 * time.Minute, 40 * time.Minute, 80 * time.Minute} {
		if worked, err := p.Step(t.Context()); worked || !errors.Is(err, late) {
			t.Fatalf("%v, %v", worked, err)
		}
		now = now.Add(pause - time.Second)
		var postponed *packer.PostponedError
		if worked, err := p.Step(t.Context()); worked || !errors.As(err, &postponed) || postponed.Last == nil ||
			!strings.Contains(err.Error(), fmt.Sprintf("shard %s into pool %s failed %d times, next try at %s: last error: ", name, s.Config.Name, try+1,
				now.Add(time.Second).UTC().Format(time.RFC3339))) {
			t.Fatalf("after a little less than %v: %v, %v", pause, worked, err)
		}
		now = now.Add(time.Second)
	}
	other := s.Full(t, roletest.Objects(2, 20, 1000)[1:])
	if worked, err := p.Step(t.Context()); !worked || err != nil {
		t.Fatalf("%v, %v", worked, err)
	}
	s.WantState(t, other, sharedbase.StatePacked)
	s.Pool.At = nil
	if worked, err := p.Step(t.Context()); !worked || err != nil {
		t.Fatalf("%v, %v", worked, err)
	}
	s.WantState(t, name, sharedbase.StatePacked)
}

// TestCostlyDamage: a shard that is quarantined after a costly failure is not postponed:
// it is not tried, and once it is released it is packed at once.
func TestCostlyDamage(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	objects := roletest.Objects(1, 20, 1000)[1:]
	name := s.Full(t, objects)
	id := objects[7].ID[:]
	p := packer.New(packer.Options{Base: s.Base, Pools: s.Pools, Log: s.Log})
	now := time.Now()
	p.SetClock(func() time.Time { return now })
	s.Pool.At = func(point roletest.Point, _ string) error {
		if point == roletest.Abort {
			now = now.Add(2 * time.Hour)
		}
		return nil
	}
	pgtest.Exec(t, s.DSN, "UPDATE shard_"+name+" SET content = content || '\\x00'::bytea WHERE key = $1", id)
	if worked, err := p.Step(t.Context()); worked || err == nil {
		t.Fatalf("%v, %v", worked, err)
	}
	s.WantQuarantined(t, "the table is damaged", name)
	if worked, err := p.Step(t.Context()); worked || err != nil {
		t.Fatalf("a quarantined shard: %v, %v", worked, err)
	}
	pgtest.Exec(t, s.DSN, "UPDATE shard_"+name+" SET content = substring(content FOR length(content) - 1) WHERE key = $1", id)
	expect.NoError(t, s.Base.Unquarantine(t.Context(), name))
	if worked, err := p.Step(t.Context()); !worked || err != nil {
		t.Fatalf("after its release: %v, %v", worked, err)
	}
	s.WantObjects(t, name, objects)
}

// TestWorksAfterFailure: a packer that has packed for more than a minute, and longer than
// the tries that failed, does not wait after a failure; one that has just begun may fail
// again at once.
func TestWorksAfterFailure(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	s.Full(t, roletest.Objects(1, 20, 1000))
	m, err := metrics.FromEnvironment(s.Log)
	expect.NoError(t, err)
	t.Cleanup(m.Close)
	m.BackOff("packer", "2", time.Minute)
	waits := func(seconds int) {
		t.Helper()
		families, err := m.Registry().Gather()
		expect.NoError(t, err)
		for _, f := range families {
			if f.GetName() == "winery_backoff_seconds" {
				if len(f.GetMetric()) != 1 || f.GetMetric()[0].GetGauge().GetValue() != float64(seconds) {
					t.Errorf("found %v, want one wait of %d s", f.GetMetric(), seconds)
				}
				return
			}
		}
		t.Error("no wait")
	}
	p := packer.New(packer.Options{Base: s.Base, Pools: s.Pools, Log: s.Log, Metrics: m, Part: "2"})
	now := time.Now()
	p.SetClock(func() time.Time { return now })
	s.Pool.At = func(point roletest.Point, _ string) error {
		switch point {
		case roletest.Open: // to read the image back
			waits(60)
			now = now.Add(2 * time.Minute)
		case roletest.Commit:
			waits(0)
		default:
		}
		return nil
	}
	if worked, err := p.Step(t.Context()); !worked || err != nil {
		t.Fatalf("%v, %v", worked, err)
	}

	// Where tries fail at their end, one has to last longer than they did.
	s.Full(t, roletest.Objects(21, 40, 1000))
	m.BackOff("packer", "2", time.Minute)
	s.Pool.At = func(point roletest.Point, _ string) error {
		if point != roletest.Commit {
			return nil
		}
		now = now.Add(20 * time.Minute)
		return errors.New("no space")
	}
	if _, err := p.Step(t.Context()); err == nil {
		t.Fatal("no error")
	}
	waits(60)
	now = now.Add(24 * time.Hour)
	s.Pool.At = func(point roletest.Point, _ string) error {
		switch point {
		case roletest.Open:
			now = now.Add(2 * time.Minute)
		case roletest.Commit:
			waits(60)
		default:
		}
		return nil
	}
	if worked, err := p.Step(t.Context()); !worked || err != nil {
		t.Fatalf("%v, %v", worked, err)
	}
}

// isFull finds in a dump of Ceph's pools whether one has reached its quota.
func isFull(t *testing.T, name string, dump []byte) bool {
	t.Helper()
	var all struct {
		Pools []struct {
			Name  string `json:"pool_name"`
			Flags string `json:"flags_names"`
		}
	}
	expect.NoError(t, json.Unmarshal(dump, &all))
	for _, p := range all.Pools {
		if p.Name == name {
			return strings.Contains(p.Flags, "full_quota")
		}
	}
	t.Fatalf("Ceph has no pool %s", name)
	return false
}
