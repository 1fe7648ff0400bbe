// SPDX-License-Identifier: GPL-3.0-or-later

package httpapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"

	"winery/internal/httpapi/rpc/wire"
	"winery/internal/metrics"
)

// The errors of a store that have a meaning for clients. Clients get the text
// of [Describe], never the error's own, which is for the log.
var (
	ErrNotFound    = errors.New("object not found")
	ErrCorrupted   = errors.New("object corrupted")
	ErrReadOnly    = errors.New("this object storage is read-only")
	ErrForbidden   = errors.New("not allowed")
	ErrUnavailable = errors.New("the object storage is unavailable") // for now: the request may succeed when it is repeated
)

// RequestError says that the request is at fault.
type RequestError struct {
	Status int    // of HTTP, 4xx
	Type   string // as Problem.Type; "" is wire.TypePermission for 401 and 403, else wire.TypeError
	Text   string // for the client
}

func (e *RequestError) Error() string { return e.Text }

// Refuse makes a *RequestError.
func Refuse(status int, format string, args ...any) error {
	return &RequestError{Status: status, Text: fmt.Sprintf(format, args...)}
}

// Unavailable returns an error that matches ErrUnavailable and err. Clients learn
// what is unavailable, and the log has err.
func Unavailable(what string, err error) error { return &unavailableError{what, err} }

type unavailableError struct {
	what string
	err  error
}

func (e *unavailableError) Error() string   { return e.what + ": " + e.err.Error() }
func (e *unavailableError) Unwrap() []error { return []error{ErrUnavailable, e.err} }

// Problem is the description of an error that a client gets.
type Problem struct {
	Type  string // the exception of the Python client, and the type in metrics
	RPC   int    // status of the RPC, as Python's server has it
	Plain int    // status of the plain API
	Text  string
}

// problems maps errors to answers: the first entry that an error matches counts.
// An error without an entry is internalError. 429 is in neither column: Python's
// client does not retry it.
var problems = []struct {
	err error
	Problem
}{
	{ErrNotFound, Problem{wire.TypeNotFound, http.StatusBadRequest, http.StatusNotFound, "object not found"}},
	{ErrCorrupted, Problem{wire.TypeCorrupted, http.StatusBadRequest, http.StatusInternalServerError, "the stored object is damaged"}},
	{ErrReadOnly, Problem{wire.TypeReadOnly, http.StatusBadRequest, http.StatusMethodNotAllowed, "this object storage is read-only"}},
	{ErrForbidden, Problem{wire.TypePermission, http.StatusForbidden, http.StatusForbidden,
		"deleting is not allowed: set allow_delete in the server's configuration"}},
	{wire.ErrNoSHA256, Problem{wire.TypeKey, http.StatusBadRequest, http.StatusBadRequest, wire.ErrNoSHA256.Error()}},
	{ErrUnavailable, Problem{wire.TypeUnavailable, http.StatusServiceUnavailable, http.StatusServiceUnavailable,
		"the object storage is unavailable"}},
	{context.DeadlineExceeded, Problem{wire.TypeUnavailable, http.StatusServiceUnavailable, http.StatusServiceUnavailable,
		"the object storage did not answer in time"}},
	{context.Canceled, Problem{wire.TypeUnavailable, http.StatusServiceUnavailable, http.StatusServiceUnavailable,
		"the request was cancelled"}},
}

var internalError = Problem{wire.TypeUnavailable, http.StatusInternalServerError, http.StatusInternalServerError, "internal error"}

// maxText is the length in bytes of the longest text for a client: texts quote what clients send, and are outside of
// the budgets.
const maxText = 1000

// Classify returns what is known of err's kind.
func Classify(err error) Problem {
	var request *RequestError
	if errors.As(err, &request) {
		kind := wire.TypeError
		if request.Status == http.StatusUnauthorized || request.Status == http.StatusForbidden {
			kind = wire.TypePermission
		}
		return Problem{cmp.Or(request.Type, kind), request.Status, request.Status, request.Text[:min(len(request.Text), maxText)]}
	}
	for _, known := range problems {
		if errors.Is(err, known.err) {
			return known.Problem
		}
	}
	return internalError
}

// ResultOf returns what metrics call the outcome of a request: a client error is
// one that the plain API answers with 4xx, also where the RPC has other statuses.
func ResultOf(err error) metrics.Result {
	if err == nil {
		return metrics.Success
	}
	if p := Classify(err); p.Plain < http.StatusInternalServerError {
		return metrics.ClientError
	}
	return metrics.ServerError
}

// Describe returns the description of err that the client gets in the answer w.
// If the server is at fault, the text has the request's id, under which the log
// has err.
func Describe(w http.ResponseWriter, err error) Problem {
	p := Classify(err)
	var unavailable *unavailableError
	if p.RPC == http.StatusServiceUnavailable { // the request may succeed when it is repeated
		if errors.As(err, &unavailable) {
			p.Text = unavailable.what
		}
		w.Header().Set("Retry-After", "1")
		p.Text += "; try again"
	}
	if p.Plain >= http.StatusInternalServerError {
		p.Text += "; request id " + w.Header().Get(RequestID)
	}
	return p
}
