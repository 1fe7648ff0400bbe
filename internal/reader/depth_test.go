// SPDX-License-Identifier: GPL-3.0-or-later

package reader

import (
	"testing"
	"time"
)

// simulated runs rounds of clients that each wait for their lookup, for a minute of a
// clock of its own. perKey is what a key takes with so many rounds in flight. It
// returns the lookups a second, and the rounds that most windows had.
func simulated(clients int, perKey func(rounds int) time.Duration) (rate float64, rounds int) {
	d := newDepth(2, 8)
	now, keys := time.Unix(0, 0), 0
	spent := map[int]time.Duration{}
	const minute = time.Minute
	for now.Before(time.Unix(0, 0).Add(minute)) {
		n := d.rounds
		size := max(1, clients/n)
		took := time.Duration(size) * perKey(n)
		now = now.Add(took)
		spent[n] += took
		for range n {
			d.ended(now, size, clients > n*size)
			keys += size
		}
	}
	for n, took := range spent {
		if took > spent[rounds] {
			rounds = n
		}
	}
	return float64(keys) / minute.Seconds(), rounds
}

// Where a key waits for the disk, rounds become more; where the CPU is the limit,
// they stay few.
func TestDepth(t *testing.T) {
	disk := func(int) time.Duration { return time.Millisecond }
	if rate, rounds := simulated(64, disk); rounds != 8 || rate < 7000 {
		t.Errorf("64 clients, 1 ms of disk a key: %d rounds, %.0f lookups a second", rounds, rate)
	}
	cpu := func(rounds int) time.Duration { return time.Duration(rounds) * 100 * time.Microsecond }
	if rate, rounds := simulated(64, cpu); rounds != 2 || rate < 9500 {
		t.Errorf("64 clients, 0.1 ms of CPU a key: %d rounds, %.0f lookups a second", rounds, rate)
	}
	two := func(rounds int) time.Duration { return time.Millisecond * time.Duration(max(rounds, 4)) / 4 } // four disks
	if _, rounds := simulated(64, two); rounds != 4 {
		t.Errorf("64 clients, four disks: %d rounds", rounds)
	}
}

// Rounds become few again when the disk is no longer the limit, or little is looked up.
func TestDepthReturns(t *testing.T) {
	for name, rate := range map[string]int{"the same number of lookups with fewer rounds": 10_000, "few lookups": 50} {
		d := newDepth(2, 8)
		d.rounds = 8
		now := time.Unix(0, 0)
		for range 10 * rate { // ten seconds
			now = now.Add(time.Second / time.Duration(rate))
			d.ended(now, 1, false)
		}
		if d.rounds != 2 {
			t.Errorf("%s: %d rounds", name, d.rounds)
		}
	}
}

// A number of rounds that is no faster is not tried all the time.
func TestDepthTriesRarely(t *testing.T) {
	d := newDepth(2, 8)
	now, tried := time.Unix(0, 0), 0
	const seconds = 30
	for range seconds * 1000 {
		now = now.Add(time.Millisecond)
		before := d.rounds
		d.ended(now, 10, true)
		if d.rounds > before {
			tried++
		}
	}
	if limit := seconds/int(tryAgain.Seconds()) + 1; tried == 0 || tried > limit {
		t.Errorf("more rounds were tried %d times in %d s, want at most %d", tried, seconds, limit)
	}
}
