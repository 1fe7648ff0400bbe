// SPDX-License-Identifier: GPL-3.0-or-later

package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"

	"winery/internal/httpapi/rpc/wire"
)

// What a server's error means, for errors.Is. ErrCorrupted also says that the server answered other bytes than the object's.
var (
	ErrNotFound    = errors.New("object not found")
	ErrCorrupted   = errors.New("object corrupted")
	ErrReadOnly    = errors.New("the server is read-only")
	ErrForbidden   = errors.New("not allowed by the server")
	ErrUnavailable = errors.New("the server is not available")
)

var meaning = map[string]error{
	wire.TypeNotFound:   ErrNotFound,
	wire.TypeCorrupted:  ErrCorrupted,
	wire.TypeReadOnly:   ErrReadOnly,
	wire.TypePermission: ErrForbidden,
}

// Error is an error that the server answered with.
type Error struct {
	Status  int    // HTTP's
	Type    string // the exception's name in Python
	Message string
}

func (e *Error) Error() string { return e.Message }

// Is reports whether target is what e means.
func (e *Error) Is(target error) bool {
	switch e.Status {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return target == ErrUnavailable
	}
	return target == meaning[e.Type]
}

func remoteError(r *http.Response, body []byte) error {
	e := &Error{Status: r.StatusCode}
	format, err := wire.FormatOf(r.Header.Get("Content-Type"))
	if err == nil {
		var decoded *wire.Error
		decoded, err = wire.Decode(format, body, wire.ReadError)
		e.Type, e.Message = decoded.Type, decoded.Message
	}
	if err != nil || e.Message == "" { // a proxy's, perhaps
		e.Message = fmt.Sprintf("%s answered %s", r.Request.URL.Redacted(), r.Status)
	}
	return e
}

// unavailable marks a failure to reach the server, unless the caller's context
// ended.
func (c *Client) unavailable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err
	}
	if untrusted(err) {
		return fmt.Errorf("%w: the certificate at %s is not trusted: %w; trust the authority that signed it (wineryctl --ca FILE), or use a name that is in it",
			ErrUnavailable, c.address, err)
	}
	var refused *net.OpError
	if errors.As(err, &refused) && neverSent(err) {
		return fmt.Errorf("%w: no answer at %s: %w; is winery-writer running there?", ErrUnavailable, c.address, refused)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// untrusted reports whether the server's certificate was refused: a retry does not help.
func untrusted(err error) bool { return errors.As(err, new(*tls.CertificateVerificationError)) }

// neverSent reports whether the server cannot have seen the request.
func neverSent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}
