// SPDX-License-Identifier: GPL-3.0-or-later

package httpapi

import (
	"errors"
	"io"
	"net/http"
	"time"
)

// ReadBody reads r's body, of at most limit bytes. Each byte is charged as cost
// bytes when it arrives: an announced length takes no memory beyond [Small]. The
// caller releases the charge when the body is no longer used. Errors: a
// *RequestError, or one that matches ErrUnavailable.
func ReadBody(r *http.Request, l *Limits, limit, cost int64) ([]byte, *Charge, error) {
	announced := r.ContentLength
	switch {
	case announced < 0:
		return nil, nil, Refuse(http.StatusLengthRequired, "a body needs a Content-Length")
	case announced > limit:
		return nil, nil, Refuse(http.StatusRequestEntityTooLarge,
			"the body has %d bytes, and %s takes at most %d: send less at once, or raise max_object_size in the server's configuration",
			announced, r.URL.Path, limit)
	}
	charge := l.Bodies.NewCharge()
	body, err := readBody(r, charge, cost)
	if err != nil {
		charge.Release()
		return nil, nil, err
	}
	return body, charge, nil
}

// MaxBody returns the size in bytes of the largest body that, each byte charged as cost
// bytes, takes no more than the whole budget for bodies. ReadBody reads larger ones, too:
// beyond the budget they are not charged.
func (l *Limits) MaxBody(cost int64) int64 {
	return l.Bodies.Limit() / max(cost, 2) // while a body is copied there are two buffers
}

func readBody(r *http.Request, charge *Charge, cost int64) ([]byte, error) {
	announced := int(r.ContentLength)
	body := make([]byte, 0, min(announced, Small))
	for len(body) < announced {
		if len(body) == cap(body) {
			size := min(announced, 2*cap(body))
			if err := charge.Reach(r.Context(), max(int64(cap(body)+size), int64(size)*cost)); err != nil {
				return nil, err
			}
			body = append(make([]byte, 0, size), body...)
			charge.Shrink(int64(size) * cost)
		}
		n, err := r.Body.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if err != nil && len(body) < announced {
			return nil, Refuse(http.StatusRequestTimeout, "the body ended or stalled after %d of %d bytes", len(body), announced)
		}
	}
	return body, nil
}

// body is a request's body whose sender is cut off when it stalls or is too slow.
type body struct {
	io.ReadCloser
	pace    pace
	control *http.ResponseController
	ended   bool // there is nothing more to read: all is read, or reading failed
}

func (b *body) Read(p []byte) (int, error) {
	start := time.Now()
	// The errors are ignored because a recorder in a test has no deadlines.
	_ = b.control.SetReadDeadline(b.pace.deadline(start))
	n, err := b.ReadCloser.Read(p)
	b.pace.spent += time.Since(start)
	b.pace.bytes += int64(n)
	if err != nil {
		b.ended = true
	}
	if errors.Is(err, io.EOF) {
		// net/http continues to read, to notice that the client closes the
		// connection.
		_ = b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

// drain reads and discards a refused body, so that a client that is still sending it sees the answer and not a broken
// connection. A client that waits for status 100 (Expect: 100-continue) has not begun to send.
func (b *body) drain(r *http.Request) {
	if b.ended || r.Header.Get("Expect") != "" {
		return
	}
	_, _ = io.CopyN(io.Discard, b, maxDrained)
}

// maxDrained is how much of a refused body is received, in bytes.
const maxDrained = 1 << 30
