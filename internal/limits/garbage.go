// SPDX-License-Identifier: GPL-3.0-or-later

package limits

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// minGarbage is how many bytes of garbage a program gathers, at least, before Go collects them. Go by itself collects
// when there is as much garbage as memory in use; a program that uses 10 MB, and receives 100 MB a second, spends a
// fourth of its processor time on that.
const minGarbage = 64 << 20

// maxPercent bounds GOGC where hardly any memory is in use: Go's least heap before a collection, 4 MiB for a GOGC of 100,
// is then 128 MiB.
const maxPercent = 3200

// gatherGarbage has Go collect garbage less often while little memory is in use. The environment variable GOGC
// counts more.
func gatherGarbage() {
	if os.Getenv("GOGC") == "" {
		afterCollection(100)
	}
}

// afterCollection sets GOGC after each collection, and is called with the value that it has.
func afterCollection(percent int) {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	// A change stops the program for a moment.
	if wanted := percentFor(live[0].Value.Uint64()); wanted < percent || wanted > percent+percent/4 {
		debug.SetGCPercent(wanted)
		percent = wanted
	}
	runtime.AddCleanup(new(collected), afterCollection, percent)
}

// collected is unreachable from the beginning: its cleanup runs after the next collection.
type collected struct{ _ *byte }

// percentFor returns GOGC for so many bytes in use.
func percentFor(live uint64) int {
	return int(min(max(100, minGarbage*100/max(live, 1)), maxPercent))
}
