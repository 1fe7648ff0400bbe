// SPDX-License-Identifier: GPL-3.0-or-later

package limits

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"
)

func TestPercentFor(t *testing.T) {
	for live, want := range map[uint64]int{0: 3200, 1 << 20: 3200, 8 << 20: 800, 64 << 20: 100, 1 << 30: 100} {
		if got := percentFor(live); got != want {
			t.Errorf("%d bytes in use: GOGC %d, want %d", live, got, want)
		}
	}
}

// GOGC follows the memory in use, from one collection to the next, and counts for nothing where the
// environment sets it.
func TestGatherGarbage(t *testing.T) {
	before := debug.SetGCPercent(100)
	t.Cleanup(func() { debug.SetGCPercent(before) })
	percent := func() uint64 {
		sample := []metrics.Sample{{Name: "/gc/gogc:percent"}}
		metrics.Read(sample)
		return sample[0].Value.Uint64()
	}
	t.Setenv("GOGC", "100")
	gatherGarbage()
	if got := percent(); got != 100 {
		t.Errorf("GOGC is set to 100 in the environment, and became %d", got)
	}
	t.Setenv("GOGC", "")
	becomes := func(what string, wanted func(uint64) bool) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); !wanted(percent()); runtime.Gosched() {
			if time.Now().After(deadline) {
				t.Fatalf("%s: GOGC is %d", what, percent())
			}
			runtime.GC()
		}
	}
	gatherGarbage()
	becomes("little in use", func(p uint64) bool { return p > 200 })
	large := make([]byte, 2*minGarbage)
	becomes("much in use", func(p uint64) bool { return p == 100 })
	runtime.KeepAlive(large) // and no longer
	becomes("little in use again", func(p uint64) bool { return p > 200 })
}
