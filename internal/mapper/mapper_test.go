// SPDX-License-Identifier: GPL-3.0-or-later

package mapper_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"winery/internal/config"
	"winery/internal/mapper"
	"winery/internal/packer"
	"winery/internal/progress"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/roletest"
	"winery/test/s3test"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(s3test.Tests{M: m}) }

func onHost(s *roletest.Stage, host string) *mapper.Mapper {
	return mapper.New(mapper.Options{Base: s.Base, Pools: s.Pools, Host: host, Log: s.Log})
}

// packed makes n packed shards of so few objects that each is in the sample.
func packed(t testing.TB, s *roletest.Stage, n int) (names []string) {
	t.Helper()
	for i := range n {
		names = append(names, s.Full(t, roletest.Objects(uint64(i), 11, 5000)[1:]))
	}
	p := packer.New(packer.Options{Base: s.Base, Pools: s.Pools, Log: s.Log})
	for range n {
		worked, err := p.Step(t.Context())
		expect.NoError(t, err)
		if !worked {
			t.Fatal("nothing was packed")
		}
	}
	return names
}

// step fails the test unless a mapper's step works, or finds nothing to do.
func step(t *testing.T, m *mapper.Mapper, want bool) {
	t.Helper()
	worked, err := m.Step(t.Context())
	expect.NoError(t, err)
	if worked != want {
		t.Fatalf("worked: %v, want %v", worked, want)
	}
}

// wantMapped fails the test unless exactly these hosts have mapped a shard.
func wantMapped(t *testing.T, s *roletest.Stage, name string, hosts ...string) {
	t.Helper()
	got := s.Shard(t, name).MappedOn
	slices.Sort(got)
	if !slices.Equal(got, hosts) {
		t.Errorf("shard %s is mapped on %q, want %q", name, got, hosts)
	}
}

// points counts the calls of each operation of the pool.
func points(s *roletest.Stage) (count func() map[roletest.Point]int) {
	var mu sync.Mutex
	passed := map[roletest.Point]int{}
	s.Pool.At = func(p roletest.Point, _ string) error {
		mu.Lock()
		defer mu.Unlock()
		if _, after := p.After(); !after {
			passed[p]++
		}
		return nil
	}
	return func() map[roletest.Point]int { return passed }
}

func TestMapsAndRecords(t *testing.T) {
	roletest.EachKind(t, func(t *testing.T, s *roletest.Stage) {
		names := packed(t, s, 3)
		unpacked := s.Full(t, roletest.Objects(9, 5, 100))
		var last progress.Report
		m := mapper.New(mapper.Options{
			Base: s.Base, Pools: s.Pools, Log: s.Log, Progress: func(p progress.Report) { last = p },
		})
		step(t, m, true)
		host, err := os.Hostname()
		expect.NoError(t, err)
		for _, name := range names {
			wantMapped(t, s, name, host)
		}
		wantMapped(t, s, unpacked)
		if last.String() != "mapping images: 3 of 3" {
			t.Errorf("progress: %s", last)
		}
		step(t, m, false)
	})
}

// TestNothingToDoIsCheap: what is mapped and recorded costs a listing, also for
// a process that has just begun.
func TestNothingToDoIsCheap(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	packed(t, s, 20)
	step(t, onHost(s, "a"), true)
	count := points(s)
	step(t, onHost(s, "a"), false)
	if got := count(); len(got) != 1 || got[roletest.Listing] != 1 {
		t.Errorf("the calls of the pool are %v", got)
	}
}

// TestMapsAgain: images that were unmapped, as by a reboot, although the host is
// recorded, are mapped again, with one read each and one statement for all.
func TestMapsAgain(t *testing.T) {
	for kind, configured := range map[string]config.Pool{"directory": roletest.Directory(t, ""), "mosaic": roletest.Mosaic(t)} {
		t.Run(kind, func(t *testing.T) { mapsAgain(t, roletest.New(t, configured)) })
	}
}

func mapsAgain(t *testing.T, s *roletest.Stage) {
	names := packed(t, s, 5)
	step(t, onHost(s, "a"), true)
	for _, name := range names[1:] {
		expect.NoError(t, s.Pool.Unmap(t.Context(), name))
	}
	var sent []string
	b, err := sharedbase.New(s.DSN, "test", sharedbase.WithObserver(func(s sharedbase.Statement) {
		if !s.Done {
			sent = append(sent, s.Name())
		}
	}))
	expect.NoError(t, err)
	defer b.Close()
	count := points(s)
	step(t, mapper.New(mapper.Options{Base: b, Pools: s.Pools, Host: "a", Log: s.Log}), true)
	want := map[roletest.Point]int{roletest.Listing: 1, roletest.Map: 4, roletest.OpenMapped: 4, roletest.Read: 4, roletest.Close: 4}
	if got := count(); !maps.Equal(got, want) {
		t.Errorf("the calls of the pool are %v, want %v", got, want)
	}
	if len(sent) != 1 {
		t.Errorf("statements: %q", sent)
	}
	mapped, err := s.Pool.Mapped(t.Context())
	expect.NoError(t, err)
	for _, name := range names {
		if !mapped[name] {
			t.Error("an image was not mapped again")
		}
		wantMapped(t, s, name, "a")
	}
}

func TestTwoHosts(t *testing.T) {
	roletest.EachKind(t, func(t *testing.T, s *roletest.Stage) {
		names := packed(t, s, 8)
		var both sync.WaitGroup
		for _, host := range []string{"a", "b"} {
			both.Go(func() {
				if _, err := onHost(s, host).Step(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		both.Wait()
		for _, name := range names {
			wantMapped(t, s, name, "a", "b")
		}
	})
}

func TestOnlyItsShards(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	names := packed(t, s, 2)
	m := mapper.New(mapper.Options{Base: s.Base, Pools: s.Pools, Host: "a", OnlyPrefix: names[1][:8], Log: s.Log})
	step(t, m, true)
	wantMapped(t, s, names[0])
	wantMapped(t, s, names[1], "a")
	delete(s.Pools, s.Config.Name)
	step(t, onHost(s, "a"), false)
}

func TestStopped(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	packed(t, s, 20)
	ctx, stop := context.WithCancel(t.Context())
	s.Pool.At = func(p roletest.Point, _ string) error {
		if p == roletest.OpenMapped {
			stop()
		}
		return nil
	}
	m := onHost(s, "a")
	if _, err := m.Step(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	s.Pool.At = nil
	step(t, m, true)
}

// TestReserves makes images for packers that may not create them.
func TestReserves(t *testing.T) {
	s := roletest.NewWith(t, roletest.RBD(t), false)
	name := s.Full(t, roletest.Objects(1, 5, 100))
	m := mapper.New(mapper.Options{Base: s.Base, Pools: s.Pools, Host: "a", ManageRWImages: true, Log: s.Log})
	step(t, m, true)
	step(t, m, false)
	p := packer.New(packer.Options{Base: s.Base, Pools: s.Pools, Log: s.Log})
	_, err := p.Step(t.Context())
	expect.NoError(t, err)
	s.WantState(t, name, sharedbase.StatePacked)
	step(t, m, true)
	wantMapped(t, s, name, "a")
}
