// SPDX-License-Identifier: GPL-3.0-or-later

// Package journal writes log records to systemd's journal, with their attributes as
// fields.
//
// MESSAGE is what the text format has after the time and the level, so that
// `journalctl` shows all of a record. Each attribute is a field besides:
// WINERY_ and its key in capital letters, with the keys of its groups before it.
// So `journalctl WINERY_SHARD=i3f…` finds what all roles of a host say of a shard.
// PRIORITY is 3 for errors, 4 for warnings, 6 for information and 7 for debug.
//
// A record goes out in one datagram that never waits. What the journal does not
// take, because its socket is missing, or full while the journal hangs, or because
// the record is too large, is written to standard error as text. In a unit that
// leads to the journal as well, by a stream with a buffer of its own.
package journal

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Socket is where the journal listens.
const Socket = "/run/systemd/journal/socket"

// Handler is a [slog.Handler].
type Handler struct {
	*sink
	text   slog.Handler // to standard error
	line   slog.Handler // writes the attributes to sink.attributes
	fields []byte       // of WithAttrs
	groups string       // of WithGroup: "A_B_"
}

// sink is what the handlers of one log share.
type sink struct {
	socket     int
	address    unix.Sockaddr
	identifier string

	mu         sync.Mutex
	attributes bytes.Buffer
}

// NewHandler returns a handler for records of level and above, by which the journal
// at socket knows the program as identifier. What the journal does not take is
// written to stderr.
func NewHandler(socket, identifier string, level slog.Leveler, stderr io.Writer) (*Handler, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("making a socket for the journal: %w", err)
	}
	s := &sink{socket: fd, address: &unix.SockaddrUnix{Name: socket}, identifier: identifier}
	return &Handler{
		sink: s,
		text: slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}),
		line: slog.NewTextHandler(&s.attributes, &slog.HandlerOptions{Level: level, ReplaceAttr: withoutBuiltin}),
	}, nil
}

// withoutBuiltin drops the attributes that the text format adds to a record.
func withoutBuiltin(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
		return slog.Attr{}
	}
	return a
}

// Close frees the socket. The handler must not be used afterwards.
func (s *sink) Close() error { return unix.Close(s.socket) }

// Enabled implements [slog.Handler].
func (h *Handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.text.Enabled(ctx, level)
}

// WithAttrs implements [slog.Handler].
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	with.text, with.line, with.fields = h.text.WithAttrs(attrs), h.line.WithAttrs(attrs), bytes.Clone(h.fields)
	for _, a := range attrs {
		with.fields = appendAttr(with.fields, h.groups, a)
	}
	return &with
}

// WithGroup implements [slog.Handler].
func (h *Handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	with := *h
	with.text, with.line, with.groups = h.text.WithGroup(name), h.line.WithGroup(name), h.groups+name+"_"
	return &with
}

// Handle implements [slog.Handler].
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	datagram, err := h.encode(ctx, r)
	if err == nil {
		err = unix.Sendto(h.socket, datagram, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, h.address)
	}
	if err != nil {
		return h.text.Handle(ctx, r)
	}
	return nil
}

func (h *Handler) encode(ctx context.Context, r slog.Record) ([]byte, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.attributes.Reset()
	if err := h.line.Handle(ctx, r); err != nil {
		return nil, err
	}
	message := strings.TrimSpace(r.Message + " " + h.attributes.String())
	b := appendField(nil, "MESSAGE", message)
	b = appendField(b, "PRIORITY", priority(r.Level))
	b = appendField(b, "SYSLOG_IDENTIFIER", h.identifier)
	b = append(b, h.fields...)
	r.Attrs(func(a slog.Attr) bool {
		b = appendAttr(b, h.groups, a)
		return true
	})
	return b, nil
}

func priority(level slog.Level) string {
	switch {
	case level >= slog.LevelError:
		return "3"
	case level >= slog.LevelWarn:
		return "4"
	case level >= slog.LevelInfo:
		return "6"
	}
	return "7"
}

// appendAttr appends a as a field, or its members as several.
func appendAttr(b []byte, groups string, a slog.Attr) []byte {
	value := a.Value.Resolve()
	if a.Equal(slog.Attr{}) {
		return b
	}
	if value.Kind() != slog.KindGroup {
		return appendField(b, fieldName(groups+a.Key), value.String())
	}
	if a.Key != "" {
		groups += a.Key + "_"
	}
	for _, member := range value.Group() {
		b = appendAttr(b, groups, member)
	}
	return b
}

// maxName is how long the journal lets the name of a field be.
const maxName = 64

func fieldName(key string) string {
	name := strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, "WINERY_"+strings.ToUpper(key))
	return name[:min(len(name), maxName)]
}

// appendField appends a field in the form that may have any bytes in its value.
func appendField(b []byte, name, value string) []byte {
	b = append(append(b, name...), '\n')
	b = binary.LittleEndian.AppendUint64(b, uint64(len(value)))
	return append(append(b, value...), '\n')
}
