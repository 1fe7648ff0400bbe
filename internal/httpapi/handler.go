// SPDX-License-Identifier: GPL-3.0-or-later

package httpapi

import (
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"winery/internal/metrics"
)

// API answers requests. Its methods are called concurrently.
type API interface {
	// Endpoint is what metrics call the request; "" leaves it out of them.
	Endpoint(r *http.Request) string
	// Serve answers the request, or says in an error why it cannot. If it had
	// begun to answer, the connection is cut.
	Serve(w http.ResponseWriter, r *http.Request) error
	// Fail answers that err prevented the answer, and names err's type for metrics.
	Fail(w http.ResponseWriter, r *http.Request, err error) (kind string)
}

// Handler serves api. m may be nil.
func Handler(api API, log *slog.Logger, m *metrics.Client) http.Handler {
	return &handler{api, log, m}
}

type handler struct {
	api     API
	log     *slog.Logger
	metrics *metrics.Client
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	id := strconv.FormatUint(rand.Uint64(), 36)
	w.Header().Set("X-Request-Id", id)
	a := &answer{ResponseWriter: w}
	defer a.end()

	err := h.serve(a, r)
	begun := a.status != 0
	kind := ""
	if err != nil {
		if r.Context().Err() != nil {
			err = fmt.Errorf("%w: the client went away, or the server stops: %w", ErrUnavailable, err)
		}
		kind = "Interrupted"
		if !begun {
			drain(w, r)
			kind = h.api.Fail(a, r, err)
		}
	}
	took := time.Since(start)
	h.record(a, r, id, took, err)
	if endpoint := h.api.Endpoint(r); endpoint != "" {
		h.metrics.Request(endpoint, took, kind)
	}
	if err != nil && begun {
		panic(http.ErrAbortHandler)
	}
}

// serve calls the API and turns a panic of it into an error.
func (h *handler) serve(w http.ResponseWriter, r *http.Request) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = &panicError{cause, debug.Stack()}
		}
	}()
	return h.api.Serve(w, r)
}

// panicError tells the log of a panic, and clients nothing.
type panicError struct {
	cause any
	stack []byte
}

func (e *panicError) Error() string { return "internal error" }

func (e *panicError) LogValue() slog.Value {
	return slog.StringValue(fmt.Sprintf("panic: %v\n%s", e.cause, e.stack))
}

// record logs the request, and err or else what kept the answer from the client.
func (h *handler) record(a *answer, r *http.Request, id string, took time.Duration, err error) {
	ctx := r.Context()
	level := slog.LevelDebug
	failed := a.status >= 500 || err != nil && a.status < 400
	if failed && a.err == nil && ctx.Err() == nil { // a client that goes away is no error
		level = slog.LevelError
	}
	if !h.log.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("id", id), slog.String("method", r.Method), slog.String("path", r.URL.Path),
		slog.Int("status", a.status), slog.Int64("in", r.ContentLength), slog.Duration("took", took),
		slog.String("from", r.RemoteAddr),
	}
	if err == nil {
		err = a.err
	}
	if err != nil {
		attrs = append(attrs, slog.Any("err", err))
	}
	h.log.LogAttrs(ctx, level, "request", attrs...)
}

// answer notes what becomes of an answer.
type answer struct {
	http.ResponseWriter
	status int // 0 until it begins
	err    error
}

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(p []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	// A recorder in a test has no deadlines, hence no look at the errors.
	_ = http.NewResponseController(a.ResponseWriter).SetWriteDeadline(deadline(int64(len(p))))
	n, err := a.ResponseWriter.Write(p)
	if err != nil && err != http.ErrBodyNotAllowed { //nolint:errorlint // it comes as it is
		a.err = err
	}
	return n, err
}

// end lifts the deadline, which would count for the connection's next request.
func (a *answer) end() {
	_ = http.NewResponseController(a.ResponseWriter).SetWriteDeadline(time.Time{})
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// Text answers with a line of text.
func Text(w http.ResponseWriter, status int, line string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(line)+1))
	w.WriteHeader(status)
	_, _ = io.WriteString(w, line+"\n")
}
