// SPDX-License-Identifier: GPL-3.0-or-later

package httpapi

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"
)

const (
	headerTime = 10 * time.Second // for a request's header
	idleTime   = 2 * time.Minute  // between two requests of a connection
	// otherTime is for what no handler has set a deadline for.
	otherTime = 30 * time.Second
	// MaxConnections is how many connections a server has open at once, where the
	// limit of open files allows it.
	MaxConnections = 4096
)

// NewServer returns a server in which no connection is without a deadline: its
// header, its body, its answer and its idle time each have one. The end of ctx
// ends the work on all requests. At most connections are open at once.
func NewServer(ctx context.Context, h http.Handler, connections int, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTime,
		ReadTimeout:       otherTime,
		WriteTimeout:      otherTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return context.WithValue(ctx, serverKey{}, ctx) },
		ConnState:         newConnections(connections),
	}
}
