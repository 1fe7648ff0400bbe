// SPDX-License-Identifier: GPL-3.0-or-later

package ingest

import "github.com/cenkalti/backoff/v4"

// MaxPause is the documented limit of the pauses of NewPauses.
const MaxPause = maxPause

// NewPauses are a lane's.
func NewPauses() *backoff.ExponentialBackOff { return newPauses() }

// Waiting is the number of adds that no lane has taken yet.
func (w *Writer) Waiting() int {
	w.queue.mu.Lock()
	defer w.queue.mu.Unlock()
	return len(w.queue.waiting)
}
