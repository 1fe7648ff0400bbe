// SPDX-License-Identifier: GPL-3.0-or-later

package mapper_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"winery/pool"
	"winery/test/roletest"
)

// wrongHost is a pool that a host maps wrongly: what it reads through its
// mapping has a bit flipped, the store has not.
type wrongHost struct {
	pool.Pool
	at     atomic.Int64 // which byte; negative: none
	cured  bool         // by mapping again
	unmaps atomic.Int64
}

func (p *wrongHost) Unmap(ctx context.Context, name string) error {
	p.unmaps.Add(1)
	if p.cured {
		p.at.Store(-1)
	}
	return p.Pool.Unmap(ctx, name)
}

func (p *wrongHost) OpenMapped(ctx context.Context, name string) (pool.Image, error) {
	img, err := p.Pool.OpenMapped(ctx, name)
	if err != nil {
		return nil, err
	}
	return wrongImage{img, p.at.Load()}, nil
}

type wrongImage struct {
	pool.Image
	at int64
}

func (i wrongImage) ReadAt(b []byte, off int64) (int, error) {
	n, err := i.Image.ReadAt(b, off)
	if at := i.at - off; at >= 0 && at < int64(n) {
		b[at] ^= 1
	}
	return n, err
}

// TestWrongMapping: where the store is right, the image is mapped again, and its
// shard is not quarantined.
func TestWrongMapping(t *testing.T) {
	const header, object = 3, 520
	for what, at := range map[string]int64{"header": header, "object": object} {
		t.Run(what, func(t *testing.T) {
			roletest.EachKind(t, func(t *testing.T, s *roletest.Stage) {
				name := packed(t, s, 1)[0]
				p := &wrongHost{Pool: s.Pool}
				s.Pools[s.Config.Name] = p
				p.at.Store(at)
				_, err := onHost(s, "a").Step(t.Context())
				if err == nil || !strings.Contains(err.Error(), "check the host's memory") || !strings.Contains(err.Error(), name) {
					t.Errorf("mapped again it is still wrong: %v", err)
				}
				if p.unmaps.Load() != 1 {
					t.Errorf("the image was unmapped %d times", p.unmaps.Load())
				}
				wantMapped(t, s, name)
				s.WantQuarantined(t, "")

				p.cured = true
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
