// SPDX-License-Identifier: GPL-3.0-or-later

package ingest

// Waiting is the number of adds that no lane has taken yet.
func (w *Writer) Waiting() int {
	w.queue.mu.Lock()
	defer w.queue.mu.Unlock()
	return len(w.queue.waiting)
}
