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
// when the server begins to end, and then how long those have that connected meanwhile. A
// connection is closed with its answer. One that is closed while a client sends a request
// would fail that request.
const draining = 5 * time.Second

// drain counts the connections of a server that ends.
type drain struct {
	ends         atomic.Bool
	all          sync.Map // of net.Conn, each with older or newer
	older, newer atomic.Int64
}

// count makes server count its connections: those from before the end, and those since.
func (d *drain) count(server *http.Server) {
	note := server.ConnState
	server.ConnState = func(conn net.Conn, state http.ConnState) {
		note(conn, state)
		switch state {
		case http.StateNew:
			number := &d.older
			if d.ends.Load() {
				number = &d.newer
			}
			number.Add(1)
			d.all.Store(conn, number)
		case http.StateClosed, http.StateHijacked:
			if number, counted := d.all.LoadAndDelete(conn); counted {
				number.(*atomic.Int64).Add(-1)
			}
		case http.StateActive, http.StateIdle: // still open
		}
	}
}

// wait waits for the connections of now to end, up to limit. The server accepts others
// meanwhile, so that no client waits. Then it stops accepting, and waits for those, too, up
// to limit: http.Server.Shutdown would close them before they are answered.
func (d *drain) wait(limit time.Duration, stopAccepting func()) {
	d.ends.Store(true)
	gone(&d.older, limit)
	stopAccepting()
	gone(&d.newer, limit)
}

func gone(number *atomic.Int64, limit time.Duration) {
	for end := time.Now().Add(limit); number.Load() > 0 && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
}
