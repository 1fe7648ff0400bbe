// SPDX-License-Identifier: GPL-3.0-or-later

package mapper_test

import (
	"context"
	"slices"
	"sync"
	"testing"

	"winery/internal/mapper"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/roletest"
)

// TestPackerWakes: a packer that takes a shard wakes a mapper that has mapped the image
// writable: the packer waits for half a minute that this mapping is removed, and fails.
func TestPackerWakes(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	name := s.Full(t, roletest.Objects(1, 5, 100))
	store := &deadStore{Pool: s.Pool, release: make(chan struct{})}
	close(store.release) // it answers
	s.Pools[s.Config.Name] = store
	m := mapper.New(mapper.Options{Base: s.Base, Pools: s.Pools, Host: "a", ManageRWImages: true, Log: s.Log})
	step(t, m, true)
	if n := store.in.Load(); n != 1 {
		t.Fatalf("%d calls to the pool, want one that reserves the image", n)
	}

	ctx, stop := context.WithCancel(t.Context())
	heard := make(chan sharedbase.ShardState, 100)
	var listening sync.WaitGroup
	listening.Go(func() { _ = s.Base.Listen(ctx, func(_ string, state sharedbase.ShardState) { heard <- state }) })
	defer listening.Wait()
	defer stop()
	<-heard // it listens

	claim, err := s.Base.LockOneShard(t.Context(), sharedbase.StateFull, sharedbase.StatePacking, sharedbase.ClaimFilter{Name: name})
	expect.NoError(t, err)
	if state := <-heard; state != sharedbase.StatePacking || !slices.Contains(m.WakesOn(), state) {
		t.Errorf("a shard that becomes %s does not wake the mapper", state)
	}
	step(t, m, false)
	if n := store.in.Load(); n != 2 {
		t.Errorf("%d calls to the pool, want one more, which removes the mapping", n)
	}
	expect.NoError(t, claim.Release(t.Context()))
}
