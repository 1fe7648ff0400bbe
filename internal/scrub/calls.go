// SPDX-License-Identifier: GPL-3.0-or-later

package scrub

import (
	"sync"
	"time"
)

// calls are those that some work makes to pools. What waits for something else, such as
// the rate, is not in a call.
type calls struct {
	mu       sync.Mutex
	inFlight int
	since    time.Time // when the first of these began, or another one returned
}

func (c *calls) begin() (end func(done bool)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inFlight == 0 {
		c.since = time.Now()
	}
	c.inFlight++
	return func(bool) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.inFlight--
		c.since = time.Now()
	}
}

// silent is how long none of the calls in flight has returned.
func (c *calls) silent() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inFlight == 0 {
		return 0
	}
	return time.Since(c.since)
}
