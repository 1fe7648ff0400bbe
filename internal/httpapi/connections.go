// SPDX-License-Identifier: GPL-3.0-or-later

package httpapi

import (
	"container/list"
	"net"
	"net/http"
	"sync"
)

// connections bounds the number of open connections: beyond the bound, it closes
// the connection that has waited longest for a request. So clients with idle
// connections cannot block other clients.
type connections struct {
	limit int

	mu      sync.Mutex
	open    map[net.Conn]*list.Element // nil for one with a request in flight
	waiting list.List                  // of net.Conn, for a request's header; the longest at the front
}

// NewConnections returns a ConnState for an http.Server, which keeps it within limit connections.
func NewConnections(limit int) func(net.Conn, http.ConnState) {
	c := &connections{limit: limit, open: make(map[net.Conn]*list.Element)}
	return c.note
}

func (c *connections) note(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if place := c.open[conn]; place != nil {
		c.waiting.Remove(place)
	}
	switch state {
	case http.StateNew, http.StateIdle:
		c.open[conn] = c.waiting.PushBack(conn)
	case http.StateActive:
		c.open[conn] = nil
	default:
		delete(c.open, conn)
	}
	if len(c.open) > c.limit && c.waiting.Len() > 0 {
		longest := c.waiting.Front()
		// Its goroutine notices this, and reports StateClosed.
		_ = c.waiting.Remove(longest).(net.Conn).Close()
		delete(c.open, longest.Value.(net.Conn))
	}
}
