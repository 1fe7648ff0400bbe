// SPDX-License-Identifier: GPL-3.0-or-later

package rpc

import (
	"context"
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
	return httpapi.Handler(&handler{o, store}, httpapi.Options{Limits: o.Limits, Log: o.Log, Metrics: o.Metrics, Access: o.Access})
}

// Endpoint is the name of the Python method behind it.
func (h *handler) Endpoint(r *http.Request) string {
	if r.URL.Path == "/" {
		return "index"
	}
	return endpoints[r.URL.Path].name
}

// Needs returns the right for the endpoint.
func (h *handler) Needs(r *http.Request) httpapi.Right { return endpoints[r.URL.Path].needs }

func (h *handler) Serve(w http.ResponseWriter, r *http.Request) error {
	if r.URL.Path == "/" && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		httpapi.Text(w, http.StatusOK, "SWH Objstorage API server: winery "+h.Name)
		return nil
	}
	e, ok := endpoints[r.URL.Path]
	if !ok {
		return httpapi.Refuse(http.StatusNotFound, "there is no endpoint %q; there are %s", r.URL.Path, endpointNames)
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return httpapi.Refuse(http.StatusMethodNotAllowed, "%s takes POST, not %s", r.URL.Path, r.Method)
	}
	if e.needs != httpapi.Read && h.ReadOnly {
		return readOnlyError{e.what}
	}
	request, body, err := h.receive(r, e)
	if err != nil {
		return err
	}
	c := &call{
		Request: request, id: w.Header().Get(httpapi.RequestID), format: accepted(r.Header),
		body: body, answer: h.Limits.Answers.NewCharge(),
	}
	defer c.release()
	answer, err := h.work(r.Context(), e, c)
	if err != nil {
		return err
	}
	send(w, c.format, http.StatusOK, answer)
	return nil
}

func (h *handler) Fail(w http.ResponseWriter, r *http.Request, err error) (kind string) {
	status, e := describe(w, err)
	if r.URL.Path == CheckConfig && e.Type == wire.TypePermission {
		e.Type = wire.TypeError // which the multiplexer does not take for a no
	}
	send(w, accepted(r.Header), status, e.Answer)
	return e.Type
}

// work does what the request asks for.
func (h *handler) work(ctx context.Context, e endpoint, c *call) (wire.Answer, error) {
	start := time.Now()
	answer, err := e.serve(h, ctx, c)
	switch {
	case errors.Is(err, httpapi.ErrNotFound):
		err = notFoundError{c.ObjID}
	case errors.Is(err, httpapi.ErrCorrupted):
		err = damagedError{c.ObjID, err}
	case errors.Is(err, httpapi.ErrReadOnly):
		err = readOnlyError{e.what}
	}
	if e.timed {
		kind := ""
		if err != nil {
			kind = httpapi.Classify(err).Type
		}
		h.Metrics.Storage(e.name, h.Name, time.Since(start), httpapi.ResultOf(err), kind)
	}
	return answer, err
}

func send(w http.ResponseWriter, f wire.Format, status int, answer wire.Answer) {
	body := f.Encode(answer)
	w.Header().Set("Content-Type", f.ContentType())
	w.Header().Set("Content-Length", strconv.FormatInt(body.Len(), 10))
	w.WriteHeader(status)
	_, _ = body.WriteTo(w) // httpapi's handler records the outcome
}
