// SPDX-License-Identifier: GPL-3.0-or-later

package httpapi

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Memory is a budget of bytes that requests share. Its methods may be called
// concurrently. A client that holds bytes for one request gets at most half of the
// budget for all of its requests.
//
// A caller whose bytes are free gets them at once, even if others wait for more:
// a request for much memory never delays a request for little.
type Memory struct {
	what  string // that the bytes are for
	limit int64
	wait  time.Duration

	mu      sync.Mutex
	free    int64
	held    map[string]int64 // by [Origin.Peer]
	changed chan struct{}    // closed and replaced when bytes may have become free
	reclaim func() bool      // frees bytes that are held in reserve; may be nil
}

// NewMemory returns a budget of limit bytes for what. A request waits up to
// wait for bytes to become free.
func NewMemory(what string, limit int64, wait time.Duration) *Memory {
	return &Memory{what: what, limit: limit, wait: wait, free: limit, held: map[string]int64{}, changed: make(chan struct{})}
}

// Limit returns the size of the budget in bytes.
func (m *Memory) Limit() int64 { return m.limit }

// ReclaimFrom has reclaim called whenever bytes are wanted and not free. It
// releases some that it holds, or returns false. It is set before the first use.
func (m *Memory) ReclaimFrom(reclaim func() bool) { m.reclaim = reclaim }

// Changed makes the waiting callers try again.
func (m *Memory) Changed() { m.release("", 0) }

func (m *Memory) release(peer string, bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.free += bytes
	m.move(peer, -bytes)
	close(m.changed)
	m.changed = make(chan struct{})
}

// take takes bytes for c if they are free and c's client may have them, else
// returns a channel that is closed at the next change, and whether bytes are lacking.
func (m *Memory) take(c *Charge, bytes int64) (changed <-chan struct{}, lacking, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := m.held[c.peer]
	tooMany := c.peer != "" && all > c.held && all+bytes > m.limit/2
	if bytes > m.free || tooMany {
		return m.changed, !tooMany, false
	}
	m.free -= bytes
	m.move(c.peer, bytes)
	return nil, false, true
}

// move adds bytes to what a client holds. The caller holds mu.
func (m *Memory) move(peer string, bytes int64) {
	if m.held[peer] += bytes; m.held[peer] == 0 {
		delete(m.held, peer)
	}
}

func (m *Memory) acquire(ctx context.Context, c *Charge, bytes int64) error {
	ctx, cancel := context.WithTimeout(ctx, m.wait)
	defer cancel()
	for {
		changed, lacking, ok := m.take(c, bytes)
		if ok {
			return nil
		}
		if lacking && m.reclaim != nil && m.reclaim() {
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Unavailable("the server's memory for "+m.what+" is in use", errNoMemory)
		}
	}
}

var errNoMemory = errors.New("memory budget exhausted")

// Charge is what one request holds of a budget: nothing for the first [Small]
// bytes, and at most the whole budget. It must not be used concurrently.
type Charge struct {
	memory *Memory
	peer   string // of the first request that held bytes; "" for none
	held   int64
}

// NewCharge returns a charge of no bytes.
func (m *Memory) NewCharge() *Charge { return &Charge{memory: m} }

// Reach makes the charge cover bytes in all, waiting for them if need be. An
// error matches ErrUnavailable and leaves the charge as it is.
func (c *Charge) Reach(ctx context.Context, bytes int64) error {
	if bytes = min(bytes, c.memory.limit); bytes <= Small || bytes <= c.held {
		return nil
	}
	if c.held == 0 {
		c.peer = OriginOf(ctx).Peer()
	}
	if err := c.memory.acquire(ctx, c, bytes-c.held); err != nil {
		return err
	}
	c.held = bytes
	return nil
}

// Shrink makes the charge cover bytes in all, and not more.
func (c *Charge) Shrink(bytes int64) {
	if bytes <= Small {
		bytes = 0
	}
	if bytes < c.held {
		c.memory.release(c.peer, c.held-bytes)
		c.held = bytes
	}
}

// Assign makes the charge count for the client of ctx's request from now on, or for no
// client if ctx has no request.
func (c *Charge) Assign(ctx context.Context) {
	m, peer := c.memory, OriginOf(ctx).Peer()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.move(c.peer, -c.held)
	m.move(peer, c.held)
	c.peer = peer
}

// Release gives everything back.
func (c *Charge) Release() { c.Shrink(0) }

// Bytes returns what the charge covers.
func (c *Charge) Bytes() int64 { return c.held }
