// SPDX-License-Identifier: GPL-3.0-or-later

package load

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Result is what clients did and how long they waited. The histograms have one
// value for each request, in microseconds, with three significant digits.
type Result struct {
	Objects   int64
	Bytes     int64 // of their contents
	Took      time.Duration
	Latency   *hdrhistogram.Histogram // from the request to the whole response
	FirstByte *hdrhistogram.Histogram // from the request to the first byte of the response; to its end where the store does not trace that
}

// longest is the longest wait that the histograms tell from longer ones.
const longest = 10 * time.Minute

func newResult() Result {
	histogram := func() *hdrhistogram.Histogram { return hdrhistogram.New(1, longest.Microseconds(), 3) }
	return Result{Latency: histogram(), FirstByte: histogram()}
}

func record(h *hdrhistogram.Histogram, d time.Duration) error {
	return h.RecordValue(min(d, longest).Microseconds())
}

// add adds what another client did meanwhile.
func (r *Result) add(other Result) {
	r.Objects += other.Objects
	r.Bytes += other.Bytes
	r.Latency.Merge(other.Latency)
	r.FirstByte.Merge(other.FirstByte)
}

// Rate returns objects a second.
func (r Result) Rate() float64 { return float64(r.Objects) / r.Took.Seconds() }

// Throughput returns MB a second.
func (r Result) Throughput() float64 { return float64(r.Bytes) / 1e6 / r.Took.Seconds() }
