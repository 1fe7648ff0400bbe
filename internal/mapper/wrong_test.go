// SPDX-License-Identifier: GPL-3.0-or-later

package mapper_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"winery/pool"
	"winery/test/expect"
	"winery/test/roletest"
)

// TestWrongMapping: where the store is right, the image is mapped again, and its
// shard is not quarantined.
func TestWrongMapping(t *testing.T) {
	const header, object = 3, 520
	for what, at := range map[string]int64{"header": header, "object": object} {
		t.Run(what, func(t *testing.T) {
			roletest.EachKind(t, func(t *testing.T, s *roletest.Stage) {
				name := packed(t, s, 1)[0]
				p := &roletest.WrongMapping{Pool: s.Pool, Wrong: roletest.FlipAt(at)}
				s.Pools[s.Config.Name] = p
				_, err := onHost(s, "a").Step(t.Context())
				if err == nil || !strings.Contains(err.Error(), "check the host's memory") || !strings.Contains(err.Error(), name) {
					t.Errorf("mapped again it is still wrong: %v", err)
				}
				if p.Unmaps.Load() != 1 {
					t.Errorf("the image was unmapped %d times", p.Unmaps.Load())
				}
				wantMapped(t, s, name)
				s.WantQuarantined(t, "")

				p.Curable = true
				step(t, onHost(s, "a"), true)
				wantMapped(t, s, name, "a")
				s.WantQuarantined(t, "")
			})
		})
	}
}

// deaf is a pool that never lists what it has mapped.
type deaf struct{ pool.Pool }

func (deaf) Mapped(context.Context) (map[string]bool, error) { return map[string]bool{}, nil }

// TestAttemptIsNoWork: a pool whose listing and mapping disagree does not make
// the mapper spin.
func TestAttemptIsNoWork(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	packed(t, s, 2)
	s.Pools[s.Config.Name] = deaf{s.Pool}
	m := onHost(s, "a")
	step(t, m, true)
	for range 10 {
		step(t, m, false)
	}
}

// TestLinkedImage maps an image whose file is elsewhere, behind a symbolic link.
func TestLinkedImage(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	names := packed(t, s, 6)
	file := filepath.Join(s.Config.BaseDirectory, s.Config.Name, names[3])
	elsewhere := filepath.Join(t.TempDir(), "image")
	expect.NoError(t, os.Rename(file, elsewhere))
	expect.NoError(t, os.Symlink(elsewhere, file))
	m := onHost(s, "a")
	step(t, m, true)
	step(t, m, false)
	for _, name := range names {
		wantMapped(t, s, name, "a")
	}
	listed, err := s.Pool.List(t.Context())
	expect.NoError(t, err)
	if len(listed) != len(names) {
		t.Errorf("the pool lists %q", listed)
	}
}
