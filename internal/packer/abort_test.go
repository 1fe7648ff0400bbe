// SPDX-License-Identifier: GPL-3.0-or-later

package packer_test

import (
	"context"
	"errors"
	"testing"

	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/roletest"
)

// TestAborted ends the context at each point: the shard is full again at once, and
// the next step packs it. Once the image is there, it is recorded in any case.
func TestAborted(t *testing.T) {
	roletest.EachKind(t, func(t *testing.T, s *roletest.Stage) {
		objects := roletest.Objects(1, 500, 30_000) // more than a block of 4 MiB
		name := s.Full(t, objects)
		for _, point := range []roletest.Point{
			roletest.Create, roletest.Write, roletest.Open, roletest.Commit,
		} {
			ctx, abort := context.WithCancel(t.Context())
			s.Pool.At = func(p roletest.Point, _ string) error {
				if p == point {
					abort()
				}
				return nil
			}
			worked, err := step(s)(ctx)
			if worked || !errors.Is(err, context.Canceled) {
				t.Fatalf("aborted at %s: %v, %v", point, worked, err)
			}
			s.WantState(t, name, sharedbase.StateFull)
		}
		ctx, abort := context.WithCancel(t.Context())
		s.Pool.At = func(p roletest.Point, _ string) error {
			if p == roletest.Committed {
				abort()
			}
			return nil
		}
		if worked, err := step(s)(ctx); !worked || err != nil {
			t.Errorf("aborted when the image is there: %v, %v", worked, err)
		}
		s.Pool.At = nil
		s.WantState(t, name, sharedbase.StatePacked)
		s.WantObjects(t, name, objects)
	})
}

// TestAbortedOutOfSight: until the image is verified, there is no file of its
// name. Python's packers fail, at each attempt, on a file that is not writable.
func TestAbortedOutOfSight(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	s.Full(t, roletest.Objects(1, 100, 20_000))
	for _, point := range []roletest.Point{roletest.Write, roletest.Open, roletest.Commit} {
		ctx, abort := context.WithCancel(t.Context())
		s.Pool.At = func(p roletest.Point, _ string) error {
			if p == point {
				abort()
			}
			return nil
		}
		if _, err := step(s)(ctx); !errors.Is(err, context.Canceled) {
			t.Fatalf("aborted at %s: %v", point, err)
		}
		images, err := s.Pool.List(t.Context())
		expect.NoError(t, err)
		if len(images) > 0 {
			t.Errorf("aborted at %s, the packer left image %s", point, images)
		}
	}
}
