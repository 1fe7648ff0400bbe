// SPDX-License-Identifier: GPL-3.0-or-later

package imagebuild

import (
	"fmt"
	"time"
)

// Phase is what is done with the shard under work.
type Phase string

// The phases, in their order.
const (
	Counting  Phase = "counting the objects of"
	Comparing Phase = "comparing with the image in the pool" // only where there is one
	Writing   Phase = "packing"
	Indexing  Phase = "indexing"
	Verifying Phase = "verifying"
)

// Progress is the progress of a phase.
type Progress struct {
	Shard string
	Phase Phase
	// Done and Total are bytes of objects.
	Done, Total int64
	// Rate is the mean since the phase began, in bytes a second.
	Rate float64
	// Limit is how long a phase that cannot report may take; 0 for one that
	// reports about once a second.
	Limit time.Duration
}

// The limits of the phases that cannot report: counting is one statement, which
// reads the index of a table, and indexing sorts the keys and has libcmph hash
// them, which took 8 µs an object for 100 million.
const (
	countingLimit       = time.Hour
	indexingLimitObject = 100 * time.Microsecond
	indexingLimitLeast  = time.Minute
)

// SilentFor returns Limit.
func (p Progress) SilentFor() time.Duration { return p.Limit }

// String is a line for people: "packing i3f…: 41 %, 212 MB/s".
func (p Progress) String() string {
	if p.Limit > 0 {
		return fmt.Sprintf("%s %s: at most %v", p.Phase, p.Shard, p.Limit)
	}
	percent := int64(100)
	if p.Total > 0 {
		percent = min(100, p.Done*100/p.Total)
	}
	return fmt.Sprintf("%s %s: %d %%, %.0f MB/s", p.Phase, p.Shard, percent, p.Rate/1e6)
}

// interval between two reports of a meter.
const interval = time.Second

// meter counts the bytes of a phase and reports them now and then.
type meter struct {
	report      func(Progress)
	now         Progress
	start, last time.Time
}

func newMeter(report func(Progress), shard string, phase Phase, total int64) *meter {
	return &meter{report: report, now: Progress{Shard: shard, Phase: phase, Total: total}, start: time.Now()}
}

// add counts n more bytes.
func (m *meter) add(n int64) {
	m.now.Done += n
	if m.report == nil || time.Since(m.last) < interval {
		return
	}
	m.last = time.Now()
	m.now.Rate = float64(m.now.Done) / m.last.Sub(m.start).Seconds()
	m.report(m.now)
}
