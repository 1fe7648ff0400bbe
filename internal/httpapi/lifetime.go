// SPDX-License-Identifier: GPL-3.0-or-later

package httpapi

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// Causes for which the work on a request was cancelled.
var (
	errStopping = errors.New("the server is shutting down")
	errTooLong  = errors.New("the request took too long")
	errLeft     = errors.New("the client closed the connection")
)

type serverKey struct{}

// lifetime returns the context of a request's work. net/http ends its own context
// when the client closes its sending side. A client that waits for the answer may
// do that, and on the network it looks like a client that has disconnected. So
// this context continues after that: for l.HalfClosed, or to the end of a request
// that changes the store, so that the client learns the outcome.
func (l *Limits) lifetime(r *http.Request, changes bool) (context.Context, context.CancelFunc) {
	ctx, end := context.WithCancelCause(context.WithoutCancel(r.Context()))
	ctx, cancel := context.WithTimeoutCause(ctx, l.Work, errTooLong)
	forget := func() bool { return true }
	if server, ok := ctx.Value(serverKey{}).(context.Context); ok {
		forget = context.AfterFunc(server, func() { end(errStopping) })
	}
	stay := func() bool { return true }
	if !changes {
		stay = context.AfterFunc(r.Context(), func() { time.AfterFunc(l.HalfClosed, func() { end(errLeft) }) })
	}
	return ctx, func() {
		forget()
		stay()
		cancel()
		end(nil)
	}
}
