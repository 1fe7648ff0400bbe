// SPDX-License-Identifier: GPL-3.0-or-later

package rpc

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"winery/internal/httpapi"
	"winery/internal/httpapi/rpc/wire"
)

type handler struct {
	Options
	store Store
}

// NewHandler serves store. The handler may be used by several servers at once.
func NewHandler(store Store, o Options) http.Handler {
	o = o.withDefaults()
	return httpapi.Handler(&handler{o, store}, o.Log, o.Metrics)
}

// Endpoint is the name of the Python method behind it.
func (h *handler) Endpoint(r *http.Request) string {
	if r.URL.Path == "/" {
		return "index"
	}
	return endpoints[r.URL.Path].name
}

func (h *handler) Serve(w http.ResponseWriter, r *http.Request) error {
	if r.URL.Path == "/" && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		httpapi.Text(w, http.StatusOK, "SWH Objstorage API server: winery "+h.Name)
		return nil
	}
	answer, err := h.handle(w, r)
	if err != nil {
		return err
	}
	send(w, r, http.StatusOK, answer)
	return nil
}

func (h *handler) Fail(w http.ResponseWriter, r *http.Request, err error) (kind string) {
	status, e := describe(err)
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	send(w, r, status, e.Answer)
	return e.Type
}

// handle does what the request asks for.
func (h *handler) handle(w http.ResponseWriter, r *http.Request) (wire.Answer, error) {
	e, ok := endpoints[r.URL.Path]
	if !ok {
		return nil, httpapi.Refuse(http.StatusNotFound, "there is no endpoint %q; there are %s", r.URL.Path, endpointNames)
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return nil, httpapi.Refuse(http.StatusMethodNotAllowed, "%s takes POST, not %s", r.URL.Path, r.Method)
	}
	if e.changes != "" && h.ReadOnly {
		return nil, readOnlyError{e.changes}
	}
	request, release, err := h.receive(w, r, e.limit(h.Options))
	if err != nil {
		return nil, err
	}
	defer release()
	start := time.Now()
	answer, err := e.serve(h, r.Context(), request)
	switch {
	case errors.Is(err, ErrNotFound):
		err = notFoundError{request.ObjID}
	case errors.Is(err, ErrReadOnly):
		err = readOnlyError{e.changes}
	}
	if e.timed {
		h.Metrics.Storage(e.name, h.Name, time.Since(start), kindOf(err))
	}
	return answer, err
}

func send(w http.ResponseWriter, r *http.Request, status int, answer wire.Answer) {
	f := accepted(r.Header)
	body := f.Encode(answer)
	w.Header().Set("Content-Type", f.ContentType())
	w.Header().Set("Content-Length", strconv.FormatInt(body.Len(), 10))
	w.WriteHeader(status)
	_, _ = body.WriteTo(w) // front knows what became of it
}
