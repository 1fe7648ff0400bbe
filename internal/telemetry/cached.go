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
)

// errSilent is returned when a service has not answered yet.
var errSilent = Reason("no answer within " + patience.String())

// cached is a value that is fetched at most once in a period, in the background,
// so that a fetch that hangs holds one goroutine, and delays no caller.
type cached[T any] struct {
	kept  time.Duration
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
// for a fetch in flight: errSilent.
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
