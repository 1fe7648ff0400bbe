// SPDX-License-Identifier: GPL-3.0-or-later

package mapper_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"winery/format"
	"winery/internal/config"
	"winery/internal/hashcache"
	"winery/internal/mapper"
	"winery/internal/metrics"
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

// TestFillsTheHashCache: readers of the host find the hash function of each image.
func TestFillsTheHashCache(t *testing.T) {
	roletest.EachKind(t, func(t *testing.T, s *roletest.Stage) {
		names := packed(t, s, 2)
		m := onHost(s, "a")
		m.Hashes = hashcache.New(hashcache.Options{Directory: t.TempDir(), Size: 1 << 20, Log: s.Log})
		step(t, m, true)
		for _, name := range names {
			cached := m.Hashes.Get(s.Pool.Name(), name)
			if cached == nil {
				t.Fatalf("the cache lacks the hash function of image %s", name)
			}
			head, err := io.ReadAll(cached)
			expect.NoError(t, errors.Join(err, cached.Close()))
			if !bytes.Equal(head, s.Image(t, name).CacheHead()) {
				t.Errorf("the cached hash function of image %s differs", name)
			}
		}
	})
}

// TestHungHashCache: a cache whose disk does not answer keeps no image from being recorded.
func TestHungHashCache(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	names := packed(t, s, 2)
	m := onHost(s, "a")
	m.ImageTimeout = 4 * time.Second
	m.Hashes = hashcache.New(hashcache.Options{Directory: t.TempDir(), Size: 1 << 20, Log: s.Log})
	writing, release := make(chan struct{}), make(chan struct{})
	var hung sync.WaitGroup
	hung.Go(func() {
		m.Hashes.Put("another", "image", func() []byte {
			close(writing)
			<-release
			return nil
		})
	})
	<-writing
	for _, name := range names { // the second is not even tried
		m.OnlyPrefix = name
		step(t, m, true)
		wantMapped(t, s, name, "a")
	}
	close(release)
	hung.Wait()
	kept := func(name string) bool {
		cached := m.Hashes.Get(s.Pool.Name(), name)
		if cached != nil {
			expect.NoError(t, cached.Close())
		}
		return cached != nil
	}
	expect.Eventually(t, "the call that was left behind", func() bool { return kept(names[0]) })
	if kept(names[1]) {
		t.Error("the second hash function was kept")
	}
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

// TestPoolDown: a pool that does not answer costs a bounded number of tries.
func TestPoolDown(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	packed(t, s, 30)
	down := errors.New("down")
	var tries int
	var mu sync.Mutex
	s.Pool.At = func(p roletest.Point, _ string) error {
		mu.Lock()
		defer mu.Unlock()
		if p == roletest.OpenMapped {
			tries++
			return down
		}
		return nil
	}
	m := onHost(s, "a")
	if worked, err := m.Step(t.Context()); worked || !errors.Is(err, down) {
		t.Fatalf("%v, %v", worked, err)
	}
	if tries < 16 || tries > 24 {
		t.Errorf("%d tries", tries)
	}
	s.Pool.At = nil
	step(t, m, true)
}

func TestListingFails(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	packed(t, s, 1)
	down := errors.New("down")
	s.Pool.At = func(roletest.Point, string) error { return down }
	if worked, err := onHost(s, "a").Step(t.Context()); worked || !errors.Is(err, down) {
		t.Fatalf("%v, %v", worked, err)
	}
}

// TestListingAloneFails: a pool that cannot be listed does not keep new images from being
// mapped and recorded, in any step.
func TestListingAloneFails(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	down := errors.New("down")
	s.Pool.At = func(p roletest.Point, _ string) error {
		if p == roletest.Listing {
			return down
		}
		return nil
	}
	m := onHost(s, "a")
	for range 2 {
		name := packed(t, s, 1)[0]
		if worked, err := m.Step(t.Context()); !worked || !errors.Is(err, down) {
			t.Fatalf("%v, %v", worked, err)
		}
		wantMapped(t, s, name, "a")
	}
}

// TestHangingImage has a device that does not answer: the step continues without
// it, does not retry it while it hangs, and maps other images.
func TestHangingImage(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	names := packed(t, s, 3)
	release, entered := make(chan struct{}), make(chan struct{}, 2)
	s.Pool.At = func(p roletest.Point, image string) error {
		if p == roletest.OpenMapped && image == names[0] {
			entered <- struct{}{}
			<-release
		}
		return nil
	}
	m := mapper.New(mapper.Options{
		Base: s.Base, Pools: s.Pools, Host: "a", ImageTimeout: 500 * time.Millisecond, Log: s.Log,
	})
	next := func() {
		t.Helper()
		_, err := m.Step(t.Context())
		if err == nil || !strings.Contains(err.Error(), names[0]) || !strings.Contains(err.Error(), "does not answer") {
			t.Fatal(err)
		}
	}
	mapped := func(name string) bool { return len(s.Shard(t, name).MappedOn) > 0 }
	// On a busy machine the others may not answer in time at once, either.
	expect.Eventually(t, "the others to be mapped", func() bool {
		next()
		return mapped(names[1]) && mapped(names[2])
	})
	next()
	wantMapped(t, s, names[0])
	if len(entered) != 1 {
		t.Fatal("it was tried again while it hung")
	}
	close(release)
	deadline := time.Now().Add(time.Minute)
	for {
		worked, err := m.Step(t.Context())
		if worked && err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	wantMapped(t, s, names[0], "a")
}

// TestSlowReads: an image of which each read is slow, and whose check takes longer than a
// call may, is recorded.
func TestSlowReads(t *testing.T) {
	const limit, reads = 5 * time.Second, 5
	s := roletest.New(t, roletest.Directory(t, ""))
	name := packed(t, s, 1)[0]
	var left atomic.Int64
	s.Pool.At = func(p roletest.Point, _ string) error {
		switch {
		case p == roletest.OpenMapped:
			left.Store(reads)
		case p == roletest.Read && left.Add(-1) >= 0:
			time.Sleep(limit * 3 / 10)
		}
		return nil
	}
	m := mapper.New(mapper.Options{Base: s.Base, Pools: s.Pools, Host: "a", ImageTimeout: limit, Log: s.Log})
	began := time.Now()
	step(t, m, true)
	wantMapped(t, s, name, "a")
	if took := time.Since(began); took < limit*5/4 {
		t.Errorf("the check took %v, no longer than a call may", took)
	}
}

// slowPool maps only once it is allowed to.
type slowPool struct {
	pool.Pool
	begun chan struct{}
	allow chan struct{}
}

func (p slowPool) Map(ctx context.Context, name string) error {
	p.begun <- struct{}{}
	select {
	case <-p.allow:
		return p.Pool.Map(ctx, name)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// TestSlowMapping has a mapping take longer than an image may: it is not cut off, and
// adopted by a later step.
func TestSlowMapping(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	name := packed(t, s, 1)[0]
	slow := slowPool{s.Pool, make(chan struct{}, 100), make(chan struct{})}
	m := mapper.New(mapper.Options{
		Base: s.Base, Pools: map[string]pool.Pool{s.Pool.Name(): slow}, Host: "a", ImageTimeout: 100 * time.Millisecond, Log: s.Log,
	})
	for range 3 {
		if _, err := m.Step(t.Context()); err == nil {
			t.Fatal("no error tells of the slow mapping")
		}
	}
	if n := len(slow.begun); n != 1 {
		t.Errorf("the mapping was begun %d times", n)
	}
	close(slow.allow)
	expect.Eventually(t, "the image to be mapped", func() bool { _, err := m.Step(t.Context()); return err == nil })
	wantMapped(t, s, name, "a")
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
