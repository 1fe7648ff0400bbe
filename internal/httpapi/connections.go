// SPDX-License-Identifier: GPL-3.0-or-later

package httpapi

import (
	"container/list"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
)

// connections bounds the number of open connections: beyond the bound, it closes
// the connection that has waited longest for a request. So clients with idle
// connections cannot block other clients. One host has at most half of the
// connections: beyond that, the one of this host is closed that has waited longest.
type connections struct {
	limit int

	mu      sync.Mutex
	open    map[net.Conn]*connection
	hosts   map[string]int // how many are open
	waiting list.List      // of *connection, for a request's header; the longest at the front
}

type connection struct {
	net.Conn
	host  string
	place *list.Element // in waiting; nil while a request is in flight
}

// newConnections returns a ConnState for an http.Server, which keeps it within limit connections.
func newConnections(limit int) func(net.Conn, http.ConnState) {
	c := &connections{limit: limit, open: make(map[net.Conn]*connection), hosts: make(map[string]int)}
	return c.note
}

func (c *connections) note(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.open[conn]
	if o == nil { // new, or closed by closeOne
		o = &connection{Conn: conn, host: hostOf(conn.RemoteAddr().String())}
		c.open[conn] = o
		c.hosts[o.host]++
	}
	if o.place != nil {
		c.waiting.Remove(o.place)
		o.place = nil
	}
	switch state {
	case http.StateNew, http.StateIdle:
		o.place = c.waiting.PushBack(o)
	case http.StateActive:
	default:
		c.forget(o)
	}
	if o.host != "" && c.hosts[o.host] > c.limit/2 {
		c.closeOne(func(other *connection) bool { return other.host == o.host })
	} else if len(c.open) > c.limit {
		c.closeOne(func(*connection) bool { return true })
	}
}

// closeOne closes the connection that has waited longest of those that may be closed.
func (c *connections) closeOne(closable func(*connection) bool) {
	for place := c.waiting.Front(); place != nil; place = place.Next() {
		if o := place.Value.(*connection); closable(o) {
			conn := o.Conn
			if secure, ok := conn.(*tls.Conn); ok {
				conn = secure.NetConn() // TLS would wait for a client that does not read
			}
			_ = conn.Close() // its goroutine notices this, and reports StateClosed
			c.waiting.Remove(place)
			c.forget(o)
			return
		}
	}
}

func (c *connections) forget(o *connection) {
	delete(c.open, o.Conn)
	if c.hosts[o.host]--; c.hosts[o.host] == 0 {
		delete(c.hosts, o.host)
	}
}
