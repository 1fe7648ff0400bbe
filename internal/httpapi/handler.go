// SPDX-License-Identifier: GPL-3.0-or-later

package httpapi

import (
	"context"
	"errors"
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
	// Needs returns the right that the request needs.
	Needs(r *http.Request) Right
	// Serve answers the request, or says in an error why it cannot. If it had
	// begun to answer, the connection is cut.
	Serve(w http.ResponseWriter, r *http.Request) error
	// Fail answers that err prevented the answer, and names err's type for metrics.
	Fail(w http.ResponseWriter, r *http.Request, err error) (kind string)
}

// Options are a handler's settings. Limits and Log must be set.
type Options struct {
	Limits  *Limits
	Log     *slog.Logger
	Metrics *metrics.Client
	Access  Access // nil: every client has all rights
}

// Handler serves api.
func Handler(api API, o Options) http.Handler { return &handler{o, api} }

type handler struct {
	Options
	api API
}

// RequestID is the header in which each answer has the id of its request.
const RequestID = "X-Request-Id"

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	h.Metrics.InFlight(1)
	defer h.Metrics.InFlight(-1)
	id := strconv.FormatUint(rand.Uint64(), 36)
	w.Header().Set(RequestID, id)
	needed := h.api.Needs(r)
	ctx, cancel := h.Limits.lifetime(r, needed == Write || needed == Delete)
	defer cancel()
	control := http.NewResponseController(w)
	in := &body{ReadCloser: r.Body, control: control, pace: pace{Limits: h.Limits, stall: h.Limits.BodyStall}}
	a := &answer{ResponseWriter: w, control: control, pace: pace{Limits: h.Limits, stall: h.Limits.AnswerStall}}
	defer a.end()
	origin := Origin{Address: r.RemoteAddr, RequestID: id, TraceID: traceID(r)}
	var err error
	origin.Client, err = h.admit(a, r, needed)
	r = r.WithContext(withOrigin(ctx, origin))
	r.Body = in
	if r.ContentLength == 0 {
		// The server's deadline is for a body, and would end the watch for the client's leaving.
		_ = control.SetReadDeadline(time.Time{})
	}

	if err == nil {
		err = h.serve(a, r)
	}
	begun := a.status != 0
	kind := ""
	if err != nil {
		if ctx.Err() != nil {
			cause := context.Cause(ctx)
			err = Unavailable(cause.Error(), fmt.Errorf("%w: %w", cause, err))
		}
		kind = "Interrupted"
		if !begun {
			in.drain(r)
			kind = h.api.Fail(a, r, err)
		}
	}
	took := time.Since(start)
	h.record(a, r, origin, needed, took, err)
	if endpoint := h.api.Endpoint(r); endpoint != "" {
		result := ResultOf(err)
		if err != nil && a.err != nil { // the client broke off the answer
			result = metrics.ClientError
		}
		h.Metrics.Request(endpoint, took, result, kind)
	}
	if err != nil && begun {
		panic(http.ErrAbortHandler)
	}
}

// serve calls the API and turns a panic into an error.
func (h *handler) serve(w http.ResponseWriter, r *http.Request) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("panic: %v\n%s", cause, debug.Stack())
		}
	}()
	return h.api.Serve(w, r)
}

// record logs the request, and err or else what kept the answer from the client.
func (h *handler) record(a *answer, r *http.Request, from Origin, needed Right, took time.Duration, err error) {
	ctx := r.Context()
	if err == nil {
		err = a.err
	}
	level := levelOf(a, err)
	if needed == Delete {
		level = max(level, slog.LevelInfo) // refused ones, too
	}
	if !h.Log.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("id", from.RequestID), slog.String("method", r.Method), slog.String("path", r.URL.Path),
		slog.Int("status", a.status), slog.Int64("bytes", r.ContentLength), slog.Duration("duration", took),
		slog.String("address", from.Address),
	}
	if from.Client != "" {
		attrs = append(attrs, slog.String("client", from.Client))
	}
	if from.TraceID != "" {
		attrs = append(attrs, slog.String("trace", from.TraceID))
	}
	if err != nil {
		attrs = append(attrs, slog.Any("err", err))
	}
	h.Log.LogAttrs(ctx, level, "request", attrs...)
}

// levelOf is the level at which a request is logged. A client that does not
// take its answer is no error; one that leaves while the request hangs may be a
// sign of trouble in the store.
func levelOf(a *answer, err error) slog.Level {
	switch {
	case errors.Is(err, errLeft):
		return slog.LevelWarn
	case a.err != nil:
		return slog.LevelDebug
	case a.status >= http.StatusInternalServerError, errors.Is(err, ErrCorrupted), err != nil && a.status < http.StatusBadRequest:
		return slog.LevelError
	}
	return slog.LevelDebug
}

// answer notes what becomes of an answer, and cuts off a client that takes it too slowly.
type answer struct {
	http.ResponseWriter
	control *http.ResponseController
	pace    pace
	status  int // 0 until it begins
	err     error
}

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

// piece is how many bytes are written under one deadline.
const piece = 256 << 10

func (a *answer) Write(p []byte) (written int, err error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	for {
		n, failed := a.write(p[written:min(written+piece, len(p))])
		if written, err = written+n, failed; err != nil || written == len(p) {
			break
		}
	}
	if err != nil && err != http.ErrBodyNotAllowed { //nolint:errorlint // it comes as it is
		a.err = err
	}
	return written, err
}

func (a *answer) write(p []byte) (int, error) {
	start := time.Now()
	a.pace.bytes += int64(len(p))
	// The errors are ignored because a recorder in a test has no deadlines.
	_ = a.control.SetWriteDeadline(a.pace.deadline(start))
	n, err := a.ResponseWriter.Write(p)
	a.pace.spent += time.Since(start)
	return n, err
}

// end leaves deadlines for what net/http does after the handler: it sends what
// it has buffered, and passes over what the client sends of a body. It sets new
// ones for the connection's next request.
func (a *answer) end() {
	_ = a.control.SetWriteDeadline(time.Now().Add(a.pace.stall))
	_ = a.control.SetReadDeadline(time.Now().Add(a.pace.BodyStall))
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
