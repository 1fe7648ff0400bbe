// SPDX-License-Identifier: GPL-3.0-or-later

package scrub

import (
	"sync"
	"time"
)

// calls are those that some work makes to pools. What waits for something else, such as
// the rate, is not in a call.
type calls struct {
	limit  time.Duration
	silent func() // called where some are in flight, and none of these has returned for the limit

	mu       sync.Mutex
	inFlight int
	timer    *time.Timer // of silent
}

func (c *calls) begin() (end func(done bool)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inFlight++; c.inFlight == 1 {
		c.timer = time.AfterFunc(c.limit, c.silent)
	}
	return func(bool) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.timer.Stop()
		if c.inFlight--; c.inFlight > 0 {
			c.timer = time.AfterFunc(c.limit, c.silent)
		}
	}
}
