// SPDX-License-Identifier: GPL-3.0-or-later

package mapper_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"winery/internal/cleaner"
	"winery/internal/config"
	"winery/internal/migrator"
	"winery/pool"
	"winery/sharedbase"
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

// TestMigratedMeanwhile: an image that is migrated while a host maps its source says
// nothing of that host, nor of the shard; the next step maps it where it is now.
func TestMigratedMeanwhile(t *testing.T) {
	same := roletest.Directory(t, "")
	same.Name = "others"
	for what, to := range map[string]config.Pool{"another format": roletest.Mosaic(t), "the same format": same} {
		for _, when := range []roletest.Point{roletest.Map, roletest.OpenMapped} {
			t.Run(what+", before "+string(when), func(t *testing.T) {
				s := roletest.New(t, roletest.Directory(t, ""))
				name := packed(t, s, 1)[0]
				_, err := cleaner.New(cleaner.Options{Base: s.Base, Pools: s.Pools, Log: s.Log}).DropTables(t.Context())
				expect.NoError(t, err)
				s.WantState(t, name, sharedbase.StateReadOnly)
				to.BaseDirectory = t.TempDir()
				target := roletest.OpenPools(t, true, to)[to.Name]
				s.Pools[to.Name] = target
				var once sync.Once
				s.Pool.At = func(point roletest.Point, _ string) (err error) {
					if point == when {
						once.Do(func() {
							_, err = (&migrator.Migrator{Base: s.Base, From: s.Pool.Pool, To: target}).Migrate(t.Context(), name)
						})
					}
					return err
				}
				m := onHost(s, "a")
				step(t, m, false)
				wantMapped(t, s, name)
				s.WantQuarantined(t, "")
				step(t, m, true)
				wantMapped(t, s, name, "a")
			})
		}
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
