// SPDX-License-Identifier: GPL-3.0-or-later

package writer

import (
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// draining is how long clients have to send another request by an open connection,
// which is then closed with its answer. A connection that is closed while a client
// sends a request would fail that request.
const draining = time.Second

// drain counts the open connections of a server that ends.
type drain struct {
	open atomic.Int64
	ends atomic.Bool
}

// count makes server count its connections.
func (d *drain) count(server *http.Server) {
	note := server.ConnState
	server.ConnState = func(conn net.Conn, state http.ConnState) {
		note(conn, state)
		if state == http.StateNew {
			d.open.Add(1)
		}
		if state == http.StateClosed || state == http.StateHijacked {
			d.open.Add(-1)
		}
	}
}

// wait accepts no more connections, and waits for the open ones to end.
func (d *drain) wait(listeners []net.Listener) {
	d.ends.Store(true)
	for _, l := range listeners {
		_ = l.Close() // of this process; the service manager still has the socket
	}
	for limit := time.Now().Add(draining); d.open.Load() > 0 && time.Now().Before(limit); {
		time.Sleep(5 * time.Millisecond)
	}
}
