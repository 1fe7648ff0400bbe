// SPDX-License-Identifier: GPL-3.0-or-later

package progress

import (
	"io"
	"time"
)

// interval between two reports of a Meter.
const interval = time.Second

// Meter counts the bytes of a task, and reports them about once a second and when
// all are done. It serves one goroutine at a time.
type Meter struct {
	report        Func
	now           Report
	began, latest time.Time
}

// NewMeter makes a Meter of a task of total bytes, or Unknown.
func (f Func) NewMeter(task Task, shard string, total int64) *Meter {
	return &Meter{report: f, now: Report{Task: task, Shard: shard, Total: total}, began: time.Now()}
}

// Reader returns a reader of from that counts what is read.
func (m *Meter) Reader(from io.Reader) io.Reader { return metered{m, from} }

type metered struct {
	*Meter
	from io.Reader
}

func (r metered) Read(b []byte) (int, error) {
	n, err := r.from.Read(b)
	r.Add(int64(n))
	return n, err
}

// Add counts n more bytes; 0 means that the task makes progress otherwise.
func (m *Meter) Add(n int64) {
	m.now.Done += n
	complete := n > 0 && m.now.Done == m.now.Total
	if m.report == nil || !complete && time.Since(m.latest) < interval {
		return
	}
	m.latest = time.Now()
	m.now.Rate = float64(m.now.Done) / max(m.latest.Sub(m.began), time.Millisecond).Seconds()
	m.report(m.now)
}
