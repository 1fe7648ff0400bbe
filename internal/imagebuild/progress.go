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
	Comparing Phase = "comparing with the image in the pool" // only where there is one
	Writing   Phase = "packing"
	Verifying Phase = "verifying"
)

// Progress tells how far a phase has come.
type Progress struct {
	Shard string
	Phase Phase
	// Done and Total are bytes of objects.
	Done, Total int64
	// Rate is the mean since the phase began, in bytes a second.
	Rate float64
}

// String is a line for people: "packing i3f…: 41 %, 212 MB/s".
func (p Progress) String() string {
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
