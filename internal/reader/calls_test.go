// SPDX-License-Identifier: GPL-3.0-or-later

package reader

import (
	"testing"

	"winery/pool"
)

// TestCallsOfPool: pools that hang together do not take all threads, late calls included.
func TestCallsOfPool(t *testing.T) {
	for _, c := range []struct{ calls, pools, want, late int }{{0, 1, 256, 0}, {1536, 1, 256, 1280}, {1536, 10, 153, 0}, {3, 10, 1, 0}, {100, 0, 256, 0}} {
		pools := map[string]pool.Pool{}
		for i := range c.pools {
			pools[string(rune('a'+i))] = nil
		}
		if got, late := callsOfPool(Options{Calls: c.calls, Pools: pools}); got != c.want || late != c.late {
			t.Errorf("%+v: %d and %d late", c, got, late)
		}
	}
}
