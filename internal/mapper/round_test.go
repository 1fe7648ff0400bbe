// SPDX-License-Identifier: GPL-3.0-or-later

package mapper_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"winery/internal/mapper"
	"winery/pool"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/roletest"
)

// TestIdleStepListsNothing: once all is mapped, a step asks the database for what
// the host lacks and the pool for nothing, until CompareInterval has passed.
func TestIdleStepListsNothing(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	first := packed(t, s, 3)
	m := mapper.New(mapper.Options{Base: s.Base, Pools: s.Pools, Host: "a", Log: s.Log, CompareInterval: time.Hour})
	step(t, m, true)
	count := points(s)
	step(t, m, false)
	if got := count(); len(got) != 0 {
		t.Errorf("the calls of the pool are %v", got)
	}
	more := packed(t, s, 1)
	count = points(s)
	step(t, m, true)
	if got := count(); got[roletest.Map] != 1 || got[roletest.OpenMapped] != 1 || got[roletest.Listing] != 0 {
		t.Errorf("for one new image the calls of the pool are %v", got)
	}
	wantMapped(t, s, more[0], "a")

	// What was unmapped is found by the next comparison.
	expect.NoError(t, s.Pool.Unmap(t.Context(), first[0]))
	step(t, m, false)
	m.CompareInterval = time.Nanosecond
	step(t, m, true)
	mapped, err := s.Pool.Mapped(t.Context())
	expect.NoError(t, err)
	if !mapped[first[0]] {
		t.Error("it was not mapped again")
	}
}

// TestFailureIsComparedAgain: an image that is recorded and could not be mapped
// again is tried in the next step, not only after CompareInterval.
func TestFailureIsComparedAgain(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	name := packed(t, s, 1)[0]
	step(t, onHost(s, "a"), true)
	expect.NoError(t, s.Pool.Unmap(t.Context(), name))
	var down atomic.Bool
	down.Store(true)
	s.Pool.At = func(p roletest.Point, _ string) error {
		if p == roletest.Map && down.Load() {
			return errors.New("down")
		}
		return nil
	}
	m := mapper.New(mapper.Options{Base: s.Base, Pools: s.Pools, Host: "a", Log: s.Log, CompareInterval: time.Hour})
	if _, err := m.Step(t.Context()); err == nil || !strings.Contains(err.Error(), name) {
		t.Fatal(err)
	}
	down.Store(false)
	step(t, m, true)
	step(t, m, false)
}

// TestHangingPool: calls that do not return are bounded over all steps, and do
// not block other pools.
func TestHangingPool(t *testing.T) {
	const maxCalls = 8 + 8 - 1
	s := roletest.New(t, roletest.Directory(t, ""))
	names := packed(t, s, 30)
	release := make(chan struct{})
	var in atomic.Int64
	s.Pool.At = func(p roletest.Point, _ string) error {
		if p == roletest.OpenMapped {
			in.Add(1)
			defer in.Add(-1)
			<-release
		}
		return nil
	}
	m := mapper.New(mapper.Options{
		Base: s.Base, Pools: s.Pools, Host: "a", ImageTimeout: 100 * time.Millisecond, Log: s.Log,
	})
	for range 4 {
		if worked, err := m.Step(t.Context()); worked || err == nil {
			t.Fatalf("%v, %v", worked, err)
		}
	}
	if n := in.Load(); n > maxCalls {
		t.Errorf("%d calls hang, want at most %d", n, maxCalls)
	}
	_, err := m.Step(t.Context())
	if err == nil || !strings.Contains(err.Error(), "calls do not return") {
		t.Error(err)
	}
	close(release)
	expect.Eventually(t, "the calls to return", func() bool { return in.Load() == 0 })
	expect.Eventually(t, "all images to be mapped", func() bool { _, err := m.Step(t.Context()); return err == nil })
	for _, name := range names {
		wantMapped(t, s, name, "a")
	}
}

// TestHangingListing: a pool that cannot be listed keeps no other from being
// mapped, and is not listed again while it hangs.
func TestHangingListing(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	name := packed(t, s, 1)[0]
	hangs := &roletest.Hooked{Pool: s.Pool.Pool}
	release, in := make(chan struct{}), make(chan struct{}, 10)
	hangs.At = func(p roletest.Point, _ string) error {
		if p == roletest.Listing {
			in <- struct{}{}
			<-release
		}
		return nil
	}
	s.Pools[name] = hangs // a pool may be called like a shard of another
	m := mapper.New(mapper.Options{
		Base: s.Base, Pools: s.Pools, Host: "a", ImageTimeout: 100 * time.Millisecond, Log: s.Log,
	})
	expect.Eventually(t, "the image of the other pool to be mapped", func() bool {
		if _, err := m.Step(t.Context()); err == nil {
			t.Error("no error tells of the listing that hangs")
		}
		return len(s.Shard(t, name).MappedOn) > 0
	})
	wantMapped(t, s, name, "a")
	if len(in) != 1 {
		t.Errorf("%d listings hang", len(in))
	}
	close(release)
	expect.Eventually(t, "the pool to be listed", func() bool { _, err := m.Step(t.Context()); return err == nil })
}

// TestManyListingsHang: the calls that hang are noted while others begin. The race
// detector tells whether that is safe.
func TestManyListingsHang(t *testing.T) {
	const pools = 100
	s := roletest.New(t, roletest.Directory(t, ""))
	release := make(chan struct{})
	hangs := &roletest.Hooked{Pool: s.Pool.Pool, At: func(roletest.Point, string) error {
		<-release
		return nil
	}}
	for i := range pools {
		s.Pools[fmt.Sprint("hangs-", i)] = hangs
	}
	m := mapper.New(mapper.Options{Base: s.Base, Pools: s.Pools, Host: "a", ImageTimeout: time.Nanosecond, Log: s.Log})
	_, err := m.Step(t.Context())
	if n := strings.Count(fmt.Sprint(err), "does not answer"); n < pools {
		t.Errorf("the error tells of %d listings that hang, want %d", n, pools)
	}
	close(release)
	expect.Eventually(t, "the listings to return", func() bool {
		_, err := m.Step(t.Context())
		return !strings.Contains(fmt.Sprint(err), "has not returned")
	})
}

// deadStore is a pool in which reserving hangs, and undoing that.
type deadStore struct {
	pool.Pool
	release chan struct{}
	in      atomic.Int64
}

func (d *deadStore) Reserve(context.Context, string) error {
	d.in.Add(1)
	<-d.release
	return nil
}

func (d *deadStore) Unreserve(ctx context.Context, name string) error { return d.Reserve(ctx, name) }

// TestHangingReserve: finished images are mapped although none can be reserved,
// and one call hangs, whatever the number of images and steps.
func TestHangingReserve(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	name := packed(t, s, 1)[0]
	for i := range 3 {
		s.Full(t, roletest.Objects(uint64(i+10), 5, 100))
	}
	dead := &deadStore{Pool: s.Pool, release: make(chan struct{})}
	s.Pools[s.Config.Name] = dead
	m := mapper.New(mapper.Options{
		Base: s.Base, Pools: s.Pools, Host: "a", ManageRWImages: true, ImageTimeout: 2 * time.Second, Log: s.Log,
	})
	for range 3 {
		if _, err := m.Step(t.Context()); err == nil || !strings.Contains(err.Error(), "not reserved") {
			t.Error(err)
		}
	}
	wantMapped(t, s, name, "a")
	if n := dead.in.Load(); n != 1 {
		t.Errorf("%d calls hang, want 1", n)
	}
	close(dead.release)
	expect.Eventually(t, "the images to be reserved", func() bool { _, err := m.Step(t.Context()); return err == nil })
}

// TestHangingUnreserve: finished images are mapped although no writable mapping can be
// removed for a packer, and one call hangs, whatever the number of packers and steps.
func TestHangingUnreserve(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	name := packed(t, s, 1)[0]
	for i := range 3 {
		s.Full(t, roletest.Objects(uint64(i+10), 5, 100))
		claim, err := s.Base.LockOneShard(t.Context(), sharedbase.StateFull, sharedbase.StatePacking, sharedbase.ClaimFilter{})
		expect.NoError(t, err)
		defer func() { expect.NoError(t, claim.Release(t.Context())) }()
	}
	dead := &deadStore{Pool: s.Pool, release: make(chan struct{})}
	s.Pools[s.Config.Name] = dead
	m := mapper.New(mapper.Options{
		Base: s.Base, Pools: s.Pools, Host: "a", ManageRWImages: true, ImageTimeout: 2 * time.Second, Log: s.Log,
	})
	for range 3 {
		if _, err := m.Step(t.Context()); err == nil || !strings.Contains(err.Error(), "not unmapped") {
			t.Error(err)
		}
	}
	wantMapped(t, s, name, "a")
	if n := dead.in.Load(); n != 1 {
		t.Errorf("%d calls hang, want 1", n)
	}
	close(dead.release)
	expect.Eventually(t, "the mappings to be removed", func() bool { _, err := m.Step(t.Context()); return err == nil })
}
