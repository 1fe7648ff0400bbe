// SPDX-License-Identifier: GPL-3.0-or-later

package telemetry

import (
	"context"
	"sync"
	"time"
)

const (
	// patience is how long an answer to a client waits for other services.
	patience = 500 * time.Millisecond
	// fetchLimit is how long a service may take to answer in the background.
	fetchLimit = 5 * time.Second
	// errorKept is how long a failed fetch is not repeated.
	errorKept = time.Second
	// staleLimit is for how long a measurement is given after its time, while the next
	// takes longer than patience: less than the alerts wait that count on it.
	staleLimit = 2 * time.Minute
)

// errSilent is returned when a service has not answered yet.
var errSilent = Reason("no answer within " + patience.String())

// cached is a value that is fetched at most once in a period, in the background,
// so that a fetch that hangs holds one goroutine, and delays no caller.
type cached[T any] struct {
	kept  time.Duration
	stale time.Duration // for how long after kept it is given while a fetch is in flight
	fetch func(ctx context.Context) (T, error)
	// failed is called with each error that differs from the one before. May be nil.
	failed func(error)

	mu      sync.Mutex
	value   T
	err     error
	until   time.Time     // value and err are given until then
	running chan struct{} // closed once the fetch in flight has ended; nil: there is none
}

// get returns the value, or why it could not be fetched. It waits until ctx ends
// for a fetch in flight; then it returns the value before, or errSilent if that is stale.
func (c *cached[T]) get(ctx context.Context) (value T, err error) {
	c.mu.Lock()
	if time.Now().Before(c.until) {
		defer c.mu.Unlock()
		return c.value, c.err
	}
	if c.running == nil {
		c.running = make(chan struct{})
		go c.refresh()
	}
	running := c.running
	c.mu.Unlock()
	select {
	case <-running:
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.value, c.err
	case <-ctx.Done():
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.err == nil && time.Since(c.until) < c.stale {
			return c.value, nil
		}
		return value, errSilent
	}
}

func (c *cached[T]) refresh() {
	ctx, cancel := context.WithTimeout(context.Background(), fetchLimit)
	defer cancel()
	value, err := c.fetch(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed != nil && err != nil && (c.err == nil || c.err.Error() != err.Error()) {
		c.failed(err)
	}
	c.value, c.err, c.until = value, err, time.Now().Add(c.kept)
	if err != nil {
		c.until = time.Now().Add(min(c.kept, errorKept))
	}
	close(c.running)
	c.running = nil
}
