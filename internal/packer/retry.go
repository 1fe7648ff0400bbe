// SPDX-License-Identifier: GPL-3.0-or-later

package packer

import (
	"fmt"
	"time"
)

const (
	// cheap is the cost of a failed try up to which the loop's own pauses, of up
	// to a minute, are long enough.
	cheap    = time.Minute
	maxPause = 6 * time.Hour
)

// tries are those of this process to pack one shard, all of which failed.
type tries struct {
	failed  int
	damaged int // those whose image was damaged
	longest time.Duration
	next    time.Time // not before
	last    error     // of the last try
}

// PostponedError is returned by a step that had nothing to do but a shard that it may
// not try again yet. The error of the failed try was returned before.
type PostponedError struct {
	Shard, Pool string
	Failed      int       // tries of this process
	Next        time.Time // the next try is not before
	Last        error     // of the last try
}

func (e *PostponedError) Error() string {
	return fmt.Sprintf("packing shard %s into pool %s failed %d times, next try at %s: last error: %v",
		e.Shard, e.Pool, e.Failed, e.Next.UTC().Format(time.RFC3339), e.Last)
}

// Postponed says that no work was tried: package daemon reports the error as a failure,
// but does not log it again, and still wakes up for other work.
func (e *PostponedError) Postponed() {}

// fail notes a try that failed with err after cost, and returns the pause before the
// next: as long as the try took, doubled with each failure.
func (t *tries) fail(now time.Time, cost time.Duration, err error) (pause time.Duration) {
	if cost > cheap {
		pause = min(cost<<min(t.failed, 8), maxPause)
	}
	t.failed++
	t.longest = max(t.longest, cost)
	t.last = err
	t.next = now.Add(pause)
	return pause
}
