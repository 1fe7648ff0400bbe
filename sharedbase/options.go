// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"context"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Option changes how a SharedBase works.
type Option func(*SharedBase)

// DefaultLease is how long a claim holds without WithLease.
const DefaultLease = 60 * time.Second

// WithLease sets how long a claim holds unless it is renewed; a shorter lease
// becomes one second. It is renewed every quarter of that.
func WithLease(d time.Duration) Option {
	return func(b *SharedBase) { b.lease = max(d, time.Second) }
}

// WithConnections bounds the connections to the server, that of Listen among
// them. With fewer than MinConnections, New returns an error.
func WithConnections(n int) Option {
	return func(b *SharedBase) { b.limit = n }
}

// WithStreams adds n connections for tables that are streamed at the same time: each
// takes one for as long as it lasts.
func WithStreams(n int) Option {
	return func(b *SharedBase) { b.streams = n }
}

// WithAdders makes the connections for adds at least n, beside the number of WithConnections
// if their share of that is smaller: so many Adds are in flight at the same time.
func WithAdders(n int) Option {
	return func(b *SharedBase) { b.adders = n }
}

// WithHolder names the holder of all claims: a role, and the version of its
// program.
func WithHolder(role, version string) Option {
	return func(b *SharedBase) { b.holder.Role, b.holder.Version = role, version }
}

// WithObserver calls see before and after each statement that is sent to the
// server, in the goroutine that sends it: concurrently. It must not block.
func WithObserver(see func(Statement)) Option {
	return func(b *SharedBase) { b.observe = see }
}

// Statement is one that is sent to the server, or was.
type Statement struct {
	SQL  string
	Done bool  // answered; else about to be sent
	Err  error // of the answer
}

// Name returns the name that the statement has in the comment at its beginning,
// "/* winery: Name */", which the server shows in pg_stat_activity and writes to its
// log. Every statement of this package has one. It is "" for those that pgx makes:
// "commit", "rollback", savepoints, and the beginning of a read-only transaction.
func (s Statement) Name() string {
	named, ok := strings.CutPrefix(s.SQL, "/* winery: ")
	if !ok {
		return ""
	}
	name, _, _ := strings.Cut(named, " */")
	return name
}

// observer implements [pgx.QueryTracer].
type observer func(Statement)

type statementKey struct{}

func (o observer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	o(Statement{SQL: data.SQL})
	return context.WithValue(ctx, statementKey{}, data.SQL)
}

func (o observer) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryEndData) {
	sql, _ := ctx.Value(statementKey{}).(string)
	o(Statement{SQL: sql, Done: true, Err: data.Err})
}

// send sends a statement that pgx does not trace.
func (o observer) send(sql string, statement func() error) error {
	if o == nil {
		return statement()
	}
	o(Statement{SQL: sql})
	err := statement()
	o(Statement{SQL: sql, Done: true, Err: err})
	return err
}

// thisProcess is the holder of claims, as far as the process knows itself.
func thisProcess(role string) Lease {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return Lease{Role: role, Host: host, PID: os.Getpid()}
}
