// SPDX-License-Identifier: GPL-3.0-or-later

package vm

import (
	"math"
	"time"
)

// timeStamp reads the time stamp counter of the processor.
func timeStamp() uint64

// timeStampRate measures how many kHz the counter has, which is the machine's, too: the
// emulator passes it on. A kernel that measures it while the machine waits for a processor
// is wrong by any factor, and so is its clock, with all limits of systemd and the roles.
func timeStampRate() int64 {
	read := func() (counter uint64, at time.Time) {
		shortest := time.Duration(math.MaxInt64)
		for range 100 { // of these, the one during which nothing else ran
			before := time.Now()
			now := timeStamp()
			if took := time.Since(before); took < shortest {
				shortest, counter, at = took, now, before
			}
		}
		return counter, at
	}
	first, began := read()
	time.Sleep(200 * time.Millisecond)
	last, ended := read()
	return int64(float64(last-first) / (ended.Sub(began).Seconds() * 1e3))
}
