// SPDX-License-Identifier: GPL-3.0-or-later

package mapper_test

import (
	"errors"
	"sync"
	"testing"

	"winery/test/roletest"
)

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
