// SPDX-License-Identifier: GPL-3.0-or-later

package writer

import (
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// draining is how long clients have to send another request by a connection that is open
// when the server begins to end; it is closed with the answer. A connection that is closed
// while a client sends a request would fail that request.
const draining = 5 * time.Second

// drain counts the connections that are older than the end of a server.
type drain struct {
	ends   atomic.Bool
	older  sync.Map // of net.Conn
	number atomic.Int64
}

// count makes server count its connections.
func (d *drain) count(server *http.Server) {
	note := server.ConnState
	server.ConnState = func(conn net.Conn, state http.ConnState) {
		note(conn, state)
		switch state {
		case http.StateNew:
			if !d.ends.Load() {
				d.older.Store(conn, nil)
				d.number.Add(1)
			}
		case http.StateClosed, http.StateHijacked:
			if _, counted := d.older.LoadAndDelete(conn); counted {
				d.number.Add(-1)
			}
		case http.StateActive, http.StateIdle: // still open
		}
	}
}

// wait waits for the connections of now to end, up to limit. The server accepts others
// meanwhile, and answers one request by each, so that no client waits.
func (d *drain) wait(limit time.Duration) {
	d.ends.Store(true)
	for end := time.Now().Add(limit); d.number.Load() > 0 && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
}
