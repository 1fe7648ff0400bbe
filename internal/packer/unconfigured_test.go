// SPDX-License-Identifier: GPL-3.0-or-later

package packer_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"winery/internal/packer"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/roletest"
)

// TestUnconfiguredPool: a packer of any pool warns once of full shards that no
// packer packs, and again after a change.
func TestUnconfiguredPool(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	var log bytes.Buffer
	p := packer.New(packer.Options{Base: s.Base, Pools: s.Pools, Pool: s.Config.Name, Log: slog.New(slog.NewTextHandler(&log, nil))})
	for n, pool := range []string{"shard", "", "older", ""} { // misspelt; no change; another one; no change
		if pool != "" {
			name := s.FullIn(t, pool, roletest.Objects(uint64(n), 3, 10))
			defer s.WantState(t, name, sharedbase.StateFull)
		}
		worked, err := p.Step(t.Context())
		expect.NoError(t, err)
		if got, want := strings.Count(log.String(), "full shards cannot be packed, because their pools are not configured"), n/2+1; worked || got != want {
			t.Fatalf("step %d: worked %v, %d warnings, want %d: %s", n, worked, got, want, &log)
		}
	}
	if !strings.Contains(log.String(), `pools="[older shard]" shards=2`) {
		t.Errorf("the log says %s", &log)
	}
}
