// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestForEach: workers take the items in their order, never more at once than there are
// workers; done sees one result at a time, and ends the work.
func TestForEach(t *testing.T) {
	for workers, took := range map[int]time.Duration{1: 100 * time.Second, 4: 25 * time.Second, 200: time.Second} {
		synctest.Test(t, func(t *testing.T) {
			items := make([]int, 100)
			for i := range items {
				items[i] = i
			}
			var running, peak, reporting atomic.Int32
			began, did := time.Now(), []int{}
			forEach(workers, items, func(i int) (int, error) {
				now := running.Add(1)
				for old := peak.Load(); now > old && !peak.CompareAndSwap(old, now); old = peak.Load() {
				}
				time.Sleep(time.Second)
				running.Add(-1)
				return 2 * i, nil
			}, func(i, twice int, _ error) bool {
				if reporting.Add(1) != 1 || twice != 2*i {
					t.Errorf("%d: %d, beside another", i, twice)
				}
				did = append(did, i)
				reporting.Add(-1)
				return true
			})
			slices.Sort(did)
			if !slices.Equal(did, items) || int(peak.Load()) != min(workers, len(items)) || time.Since(began) != took {
				t.Errorf("%d workers did %v, %d at once, in %v", workers, did, peak.Load(), time.Since(began))
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		did := 0
		forEach(4, make([]int, 100), func(int) (int, error) { time.Sleep(time.Second); return 0, nil }, func(int, int, error) bool {
			did++
			return did != 10
		})
		if did < 10 || did > 13 { // those that had begun
			t.Errorf("%d items, want the end after 10", did)
		}
	})
}
