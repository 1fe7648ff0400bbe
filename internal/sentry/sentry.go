// SPDX-License-Identifier: GPL-3.0-or-later

// Package sentry sends log records of level error to Sentry, where SENTRY_DSN is set.
// The log itself stays complete: nothing waits for Sentry, and what it does not take
// in time is not sent.
package sentry

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	sdk "github.com/getsentry/sentry-go"
)

const (
	// interval between two events with the same message. An outage makes thousands
	// of records a second, which would use up what Sentry accepts.
	interval = time.Minute
	// flushTime is how long the end of a process may wait for its last events.
	flushTime = 2 * time.Second
)

// NewHandler returns a handler that sends records of level error to the DSN in
// SENTRY_DSN, or else in SWH_SENTRY_DSN, which Python Winery reads; nil where neither
// is set. The environment of the events is SENTRY_ENVIRONMENT, or else SWH_SENTRY_ENVIRONMENT. An error
// names the variables and not the DSN, which has a key. The caller calls flush at the end of the process.
func NewHandler(program, version string) (h slog.Handler, flush func(), err error) {
	dsn := cmp.Or(os.Getenv("SENTRY_DSN"), os.Getenv("SWH_SENTRY_DSN"))
	if dsn == "" {
		return nil, func() {}, nil
	}
	client, err := sdk.NewClient(sdk.ClientOptions{
		Dsn: dsn, Release: "winery@" + version, MaxBreadcrumbs: -1, DisableClientReports: true,
		Environment: cmp.Or(os.Getenv("SENTRY_ENVIRONMENT"), os.Getenv("SWH_SENTRY_ENVIRONMENT")),
	})
	if err != nil {
		return nil, nil, fmt.Errorf("SENTRY_DSN or SWH_SENTRY_DSN: not a DSN of Sentry, https://KEY@HOST/PROJECT")
	}
	scope := sdk.NewScope()
	scope.SetTag("program", program)
	return &handler{hub: sdk.NewHub(client, scope), sent: &latest{at: map[string]time.Time{}}}, func() { client.Flush(flushTime) }, nil
}

// handler is a [slog.Handler].
type handler struct {
	hub   *sdk.Hub
	sent  *latest
	attrs []slog.Attr
}

func (h *handler) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelError }

// Handle makes an event of a record: its message is the title, and its attributes are
// the event's data. Role, shard and pool are tags, by which events can be searched.
func (h *handler) Handle(_ context.Context, r slog.Record) error {
	if !h.sent.first(r.Message, r.Time) {
		return nil
	}
	event := sdk.NewEvent()
	event.Level, event.Message, event.Timestamp = sdk.LevelError, r.Message, r.Time
	data := sdk.Context{}
	add := func(a slog.Attr) bool {
		value := a.Value.Resolve().String()
		data[a.Key] = value
		switch a.Key {
		case "role", "shard", "pool":
			event.Tags[a.Key] = value
		}
		return true
	}
	for _, a := range h.attrs {
		add(a)
	}
	r.Attrs(add)
	event.Contexts["log"] = data
	h.hub.CaptureEvent(event)
	return nil
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &handler{h.hub, h.sent, append(h.attrs[:len(h.attrs):len(h.attrs)], attrs...)}
}

// WithGroup ignores the group: Winery's logs have none.
func (h *handler) WithGroup(string) slog.Handler { return h }

// latest remembers when an event with a message was sent. Messages are constants, so
// there are few.
type latest struct {
	mu sync.Mutex
	at map[string]time.Time
}

// first reports whether no event with the message was sent within the interval.
func (l *latest) first(message string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at, sent := l.at[message]; sent && now.Sub(at) < interval {
		return false
	}
	l.at[message] = now
	return true
}
