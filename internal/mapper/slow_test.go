// SPDX-License-Identifier: GPL-3.0-or-later

package mapper_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"winery/internal/mapper"
	"winery/pool"
	"winery/test/expect"
	"winery/test/roletest"
)

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
