// SPDX-License-Identifier: GPL-3.0-or-later

package rpc

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"golang.org/x/sync/semaphore"

	"winery/internal/rpc/wire"
)

type handler struct {
	Options
	store  Store
	bodies *semaphore.Weighted // bytes of MaxBodyBytesInFlight
}

// NewHandler serves store. The handler may be used by several servers at once.
func NewHandler(store Store, o Options) http.Handler {
	o = o.withDefaults()
	return &handler{Options: o, store: store, bodies: semaphore.NewWeighted(o.MaxBodyBytesInFlight)}
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := exchange{w: w, r: r, id: strconv.FormatUint(rand.Uint64(), 36), start: time.Now()}
	defer h.log(&x)
	defer func() {
		if cause := recover(); cause != nil {
			x.err = fmt.Errorf("panic: %v\n%s", cause, debug.Stack())
			x.fail(http.StatusInternalServerError, &wire.Error{Type: wire.TypeUnavailable, Message: "internal error"})
		}
	}()
	w.Header().Set("X-Request-Id", x.id)
	if r.URL.Path == "/" && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		x.send(http.StatusOK, "text/plain; charset=utf-8", textBody("SWH Objstorage API server: winery "+h.Name+"\n"))
		return
	}
	answer, err := h.handle(w, r)
	if err == nil {
		x.answer(http.StatusOK, answer)
		return
	}
	if r.Context().Err() != nil {
		err = fmt.Errorf("%w: the client went away, or the server stops: %w", ErrUnavailable, err)
	}
	x.err = err
	drain(w, r)
	x.fail(describe(err))
}

// handle does what the request asks for.
func (h *handler) handle(w http.ResponseWriter, r *http.Request) (wire.Answer, error) {
	e, ok := endpoints[r.URL.Path]
	if !ok {
		return nil, refuse(http.StatusNotFound, "there is no endpoint %q; there are %s", r.URL.Path, endpointNames)
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return nil, refuse(http.StatusMethodNotAllowed, "%s takes POST, not %s", r.URL.Path, r.Method)
	}
	if e.changes != "" && h.ReadOnly {
		return nil, readOnlyError{e.changes}
	}
	request, release, err := h.receive(w, r, e.limit(h.Options))
	if err != nil {
		return nil, err
	}
	defer release()
	answer, err := e.serve(h, r.Context(), request)
	switch {
	case errors.Is(err, ErrNotFound):
		err = notFoundError{request.ObjID}
	case errors.Is(err, ErrReadOnly):
		err = readOnlyError{e.changes}
	}
	return answer, err
}

// exchange is one request and what became of it.
type exchange struct {
	w      http.ResponseWriter
	r      *http.Request
	id     string
	start  time.Time
	status int // 0 until an answer begins
	err    error
}

func (x *exchange) fail(status int, e *wire.Error) {
	if status == http.StatusServiceUnavailable {
		x.w.Header().Set("Retry-After", "1")
	}
	x.answer(status, e.Answer)
}

func (x *exchange) answer(status int, answer wire.Answer) {
	f := accepted(x.r.Header)
	x.send(status, f.ContentType(), f.Encode(answer))
}

// send is called once, unless a panic interrupts it.
func (x *exchange) send(status int, contentType string, body *wire.Body) {
	if x.status != 0 {
		panic(http.ErrAbortHandler) // too late for another answer: cut the connection
	}
	x.status = status
	header := x.w.Header()
	header.Set("Content-Type", contentType)
	header.Set("Content-Length", strconv.FormatInt(body.Len(), 10))
	x.w.WriteHeader(status)
	if _, err := body.WriteTo(x.w); err != nil && x.err == nil && x.r.Method != http.MethodHead {
		x.err = err
	}
}

func textBody(text string) *wire.Body {
	body := &wire.Body{}
	_, _ = body.Write([]byte(text))
	return body
}

func (h *handler) log(x *exchange) {
	ctx := x.r.Context()
	level := slog.LevelDebug
	if x.status >= 500 && ctx.Err() == nil { // a client that goes away is no error
		level = slog.LevelError
	}
	if !h.Log.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("id", x.id), slog.String("method", x.r.Method), slog.String("path", x.r.URL.Path),
		slog.Int("status", x.status), slog.Int64("in", x.r.ContentLength), slog.Duration("took", time.Since(x.start)),
		slog.String("from", x.r.RemoteAddr),
	}
	if x.err != nil {
		attrs = append(attrs, slog.Any("err", x.err))
	}
	h.Log.LogAttrs(ctx, level, "request", attrs...)
}
