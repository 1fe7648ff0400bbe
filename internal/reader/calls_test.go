// SPDX-License-Identifier: GPL-3.0-or-later

package reader

import (
	"testing"

	"winery/pool"
)

// TestCallsOfPool: pools that hang together do not take all threads.
func TestCallsOfPool(t *testing.T) {
	for _, c := range []struct{ calls, pools, want int }{{0, 1, 256}, {1536, 1, 256}, {1536, 10, 153}, {3, 10, 1}, {100, 0, 256}} {
		pools := map[string]pool.Pool{}
		for i := range c.pools {
			pools[string(rune('a'+i))] = nil
		}
		if got := callsOfPool(Options{Calls: c.calls, Pools: pools}); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
}
