// SPDX-License-Identifier: GPL-3.0-or-later

package writer

import (
	"net/http"
	"sync/atomic"

	"winery/internal/httpapi"
)

// front answers requests with 503 until it has a handler. Each answer names the
// program and its version.
type front struct {
	handler atomic.Pointer[http.Handler]
	server  string
}

func (f *front) serve(h http.Handler) { f.handler.Store(&h) }

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Server", f.server)
	if h := f.handler.Load(); h != nil {
		(*h).ServeHTTP(w, r)
		return
	}
	w.Header().Set("Retry-After", "1")
	httpapi.Text(w, http.StatusServiceUnavailable, "the server is starting: it waits for its database and pools; try again")
}
