// SPDX-License-Identifier: GPL-3.0-or-later

package httpapi

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"golang.org/x/sync/semaphore"
)

// Bodies is the memory that the bodies of requests under work take together.
type Bodies struct {
	memory *semaphore.Weighted
	limit  int64
	wait   time.Duration
}

// NewBodies allows limit bytes; a larger body takes all of it. A request waits
// that long for memory before it fails with ErrUnavailable.
func NewBodies(limit int64, wait time.Duration) *Bodies {
	return &Bodies{semaphore.NewWeighted(limit), limit, wait}
}

// Read reads r's body, of at most limit bytes, and accounts for memory bytes
// until release is called. Errors: a *RequestError, or ErrUnavailable.
func (b *Bodies) Read(w http.ResponseWriter, r *http.Request, limit, memory int64) (body []byte, release func(), err error) {
	switch {
	case r.ContentLength < 0:
		return nil, nil, Refuse(http.StatusLengthRequired, "a body needs a Content-Length")
	case r.ContentLength > limit:
		return nil, nil, Refuse(http.StatusRequestEntityTooLarge,
			"the body has %d bytes, and %s takes at most %d: send less at once, or raise max_object_size in the server's configuration",
			r.ContentLength, r.URL.Path, limit)
	}
	release, err = b.reserve(r.Context(), min(memory, b.limit))
	if err != nil {
		return nil, nil, err
	}
	if body, err = read(w, r); err != nil {
		release()
		return nil, nil, err
	}
	return body, release, nil
}

func (b *Bodies) reserve(ctx context.Context, bytes int64) (release func(), err error) {
	release = func() { b.memory.Release(bytes) }
	if b.memory.TryAcquire(bytes) {
		return release, nil
	}
	ctx, cancel := context.WithTimeout(ctx, b.wait)
	defer cancel()
	if err := b.memory.Acquire(ctx, bytes); err != nil {
		return nil, fmt.Errorf("%w: there is no memory for a body of %d bytes now", ErrUnavailable, bytes)
	}
	return release, nil
}

// patience is for a peer that sends or receives; patiencePerMiB is more of it
// for each MiB.
const (
	patience       = 30 * time.Second
	patiencePerMiB = time.Second
)

func deadline(bytes int64) time.Time {
	return time.Now().Add(patience + time.Duration(bytes>>20)*patiencePerMiB)
}

func read(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	// A recorder in a test has no deadlines, hence no look at the errors.
	deadlines := http.NewResponseController(w)
	_ = deadlines.SetReadDeadline(deadline(r.ContentLength))
	body := make([]byte, r.ContentLength)
	n, err := io.ReadFull(r.Body, body)
	if err != nil {
		return nil, Refuse(http.StatusRequestTimeout, "the body ended or stopped after %d of %d bytes: %v", n, r.ContentLength, err)
	}
	// What is left of it would also end the watch for the client's going away.
	_ = deadlines.SetReadDeadline(time.Time{})
	return body, nil
}

// drain passes over a body that was refused, so that a client that is still sending it gets to see the answer and not
// a broken connection. One that waits to be asked for its body has not begun.
func drain(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Expect") != "" {
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(patience))
	_, _ = io.CopyN(io.Discard, r.Body, 1<<30)
}
