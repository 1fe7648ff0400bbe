// SPDX-License-Identifier: GPL-3.0-or-later

package reader

import "time"

// depth decides how many rounds of a coalescer are in flight at once. Where the
// CPU is the limit, few large rounds are best: each costs less. Where PostgreSQL
// waits for its disk, one round after the other leaves the disk idle, and more
// rounds are faster. Both look alike to a client, so depth tries: if lookups
// always wait, or share a round, it doubles the rounds for a moment, and keeps
// them only if clearly more lookups were done in it. Now and then it tries half of
// them, and keeps these unless fewer lookups were done.
//
// It does no I/O and knows no clock, and is not safe for concurrent use.
type depth struct {
	minimum, maximum int
	rounds           int // now

	window window
	before float64   // lookups a second before the rounds were changed, to be compared; 0: nothing is tried
	from   int       // the rounds before they were changed
	next   time.Time // when something may be tried again
}

// window is the time over which lookups are counted.
type window struct {
	began time.Time
	keys  int
	idle  bool // a round of a single key ended, and nothing waited
}

const (
	// A window has at least so many keys and takes at least so long, for chance to
	// matter little.
	windowKeys = 200
	windowTime = 100 * time.Millisecond
	// quiet is the length of a window with fewer keys: they need few rounds.
	quiet = time.Second
	// tryAgain is the time from one attempt that changed nothing to the next.
	tryAgain = 3 * time.Second
	// faster and asFast are the rates, relative to the one before, from which on
	// more rounds and fewer rounds are kept.
	faster, asFast = 1.2, 0.95
)

func newDepth(minimum, maximum int) *depth {
	return &depth{minimum: minimum, maximum: maximum, rounds: minimum}
}

// ended notes that a round of so many keys has ended, and whether lookups waited at
// that moment. Where none waited, a round of several keys could still have been divided.
func (d *depth) ended(now time.Time, keys int, waiting bool) {
	w := &d.window
	if w.began.IsZero() {
		w.began = now
		return
	}
	w.keys += keys
	w.idle = w.idle || !waiting && keys == 1
	took := now.Sub(w.began)
	switch {
	case w.keys >= windowKeys && took >= windowTime:
		d.judge(now, float64(w.keys)/took.Seconds(), !w.idle)
	case took >= quiet:
		d.rounds, d.before = d.minimum, 0
	default:
		return
	}
	d.window = window{began: now}
}

// judge decides after a window with so many lookups a second. In a saturated one
// lookups always waited, or shared a round.
func (d *depth) judge(now time.Time, rate float64, saturated bool) {
	if d.before > 0 {
		kept := rate >= d.before*faster
		if d.rounds < d.from {
			kept = rate >= d.before*asFast
		}
		d.before = 0
		if !kept {
			d.rounds, d.next = d.from, now.Add(tryAgain)
			return
		}
	}
	switch more := min(2*d.rounds, d.maximum); {
	case now.Before(d.next):
	case saturated && more > d.rounds:
		d.try(rate, more)
	case d.rounds > d.minimum:
		d.try(rate, max(d.rounds/2, d.minimum))
	}
}

func (d *depth) try(rate float64, rounds int) {
	d.before, d.from, d.rounds = rate, d.rounds, rounds
}
