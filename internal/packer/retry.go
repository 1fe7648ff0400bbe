// SPDX-License-Identifier: GPL-3.0-or-later

package packer

import "time"

const (
	// cheap is the cost of a failed try up to which the loop's own pauses, of up
	// to a minute, are long enough.
	cheap    = time.Minute
	maxPause = 6 * time.Hour
)

// tries are those of this process to pack one shard, all of which failed.
type tries struct {
	failed  int
	damaged int       // those whose image was damaged
	next    time.Time // not before
	last    error     // of the last try
}

// fail notes a try that failed with err after cost, and returns the pause before the
// next: as long as the try took, doubled with each failure.
func (t *tries) fail(now time.Time, cost time.Duration, err error) (pause time.Duration) {
	if cost > cheap {
		pause = min(cost<<min(t.failed, 8), maxPause)
	}
	t.failed++
	t.last = err
	t.next = now.Add(pause)
	return pause
}
