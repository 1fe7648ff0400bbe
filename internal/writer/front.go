// SPDX-License-Identifier: GPL-3.0-or-later

package writer

import (
	"net/http"
	"time"

	"winery/internal/httpapi"
	"winery/internal/httpapi/rpc"
)

// starting is how long requests wait for a server that was started by socket
// activation: a restart then fails no request.
const starting = 30 * time.Second

// front answers requests with 503 until it has a handler. Each answer names the program
// and its version.
type front struct {
	server  string
	drain   *drain
	until   time.Time     // requests wait until then for the handler
	ready   chan struct{} // closed once handler is set
	handler http.Handler
}

func (f *front) serve(h http.Handler) {
	f.handler = h
	close(f.ready)
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Server", f.server)
	if f.drain.ends.Load() {
		w.Header().Set("Connection", "close")
	}
	select {
	case <-f.ready:
		f.handler.ServeHTTP(w, r)
		return
	default:
	}
	select {
	case <-f.ready:
		f.handler.ServeHTTP(w, r)
	case <-time.After(time.Until(f.until)):
		unavailable(w, r, "the server is starting: it waits for its database and pools; try again")
	}
}

// couldNotStart is the handler of a server that will have no other.
func couldNotStart(w http.ResponseWriter, r *http.Request) {
	unavailable(w, r, "the server could not start; try again")
}

// unavailable answers a request that cannot be served now. It closes the connection of one to
// [rpc.CheckConfig], whose clients take an error for a no, and a closed connection for a
// server that does not run.
func unavailable(w http.ResponseWriter, r *http.Request, text string) {
	if r.URL.Path == rpc.CheckConfig {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Retry-After", "1")
	httpapi.Text(w, http.StatusServiceUnavailable, text)
}
