// SPDX-License-Identifier: GPL-3.0-or-later

package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"winery/internal/rpc/wire"
)

// receive reads and decodes the body, of at most limit bytes in msgpack. The request refers to the body's memory, which
// is accounted for until release is called.
func (h *handler) receive(w http.ResponseWriter, r *http.Request, limit int64) (req *wire.Request, release func(), err error) {
	if r.ContentLength == 0 {
		return &wire.Request{CheckPresence: true}, func() {}, nil
	}
	format, err := wire.FormatOf(r.Header.Get("Content-Type"))
	if err != nil {
		return nil, nil, refuse(http.StatusUnsupportedMediaType, "%v", err)
	}
	memory := r.ContentLength
	if format == wire.JSON {
		limit += limit / 2
		memory *= 4
	}
	switch {
	case r.ContentLength < 0:
		return nil, nil, refuse(http.StatusLengthRequired, "a body needs a Content-Length")
	case r.ContentLength > limit:
		return nil, nil, refuse(http.StatusRequestEntityTooLarge,
			"the body has %d bytes, and %s takes at most %d: send less at once, or raise max_object_size in the server's configuration",
			r.ContentLength, r.URL.Path, limit)
	}
	release, err = h.reserve(r.Context(), min(memory, h.MaxBodyBytesInFlight))
	if err != nil {
		return nil, nil, err
	}
	body, err := read(w, r)
	if err == nil {
		var decoded wire.Request
		if decoded, err = wire.Decode(format, body, wire.ReadRequest); err == nil {
			return &decoded, release, nil
		}
		if !errors.Is(err, wire.ErrNoSHA256) {
			err = refuse(http.StatusBadRequest, "the body cannot be understood: %v", err)
		}
	}
	release()
	return nil, nil, err
}

// reserve waits for memory.
func (h *handler) reserve(ctx context.Context, bytes int64) (release func(), err error) {
	release = func() { h.bodies.Release(bytes) }
	if h.bodies.TryAcquire(bytes) {
		return release, nil
	}
	ctx, cancel := context.WithTimeout(ctx, h.MaxBodyWait)
	defer cancel()
	if err := h.bodies.Acquire(ctx, bytes); err != nil {
		return nil, fmt.Errorf("%w: there is no memory for a body of %d bytes now", ErrUnavailable, bytes)
	}
	return release, nil
}

// A sender has patience, and patiencePerMiB more for each MiB of its body.
const (
	patience       = 30 * time.Second
	patiencePerMiB = time.Second
)

func read(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	// A recorder in a test has no deadlines, hence no look at the errors.
	deadlines := http.NewResponseController(w)
	_ = deadlines.SetReadDeadline(time.Now().Add(patience + time.Duration(r.ContentLength>>20)*patiencePerMiB))
	body := make([]byte, r.ContentLength)
	n, err := io.ReadFull(r.Body, body)
	if err != nil {
		return nil, refuse(http.StatusRequestTimeout, "the body ended or stopped after %d of %d bytes: %v", n, r.ContentLength, err)
	}
	// What is left of it would also end the watch for the client's going away.
	_ = deadlines.SetReadDeadline(time.Time{})
	return body, nil
}

// drain passes over a body that was refused, so that a client that is still sending it gets to see the answer and not
// a broken connection. One that waits to be asked for its body has not begun.
func drain(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Expect") != "" {
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(patience))
	_, _ = io.CopyN(io.Discard, r.Body, 1<<30)
}

// accepted is msgpack if the Accept header prefers it to JSON.
func accepted(header http.Header) wire.Format {
	quality := map[string]float64{}
	for _, part := range strings.Split(strings.Join(header.Values("Accept"), ","), ",") {
		mediaType, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		quality[mediaType] = 1
		if q, err := strconv.ParseFloat(params["q"], 64); err == nil {
			quality[mediaType] = q
		}
	}
	forJSON, named := quality[wire.JSON.ContentType()]
	forMsgPack := quality[wire.MsgPack.ContentType()]
	if forMsgPack > forJSON && (named || forMsgPack >= quality["*/*"]) {
		return wire.MsgPack
	}
	return wire.JSON
}
