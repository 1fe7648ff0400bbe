// SPDX-License-Identifier: GPL-3.0-or-later

package rpc

import (
	"context"
	"errors"
	"net/http"

	"winery/internal/httpapi"
	"winery/internal/httpapi/rpc/wire"
)

// notFoundError is ErrNotFound with the obj_id as it was asked for.
type notFoundError struct{ id wire.ObjID }

func (e notFoundError) Error() string { return "Object not found: " + e.id.String() }

// readOnlyError is ErrReadOnly with the method that was tried: Python's exception is made from its name.
type readOnlyError struct{ method string }

func (e readOnlyError) Error() string {
	return "This object storage is read-only: cannot use " + e.method
}

// describe turns err into what a client is told.
func describe(err error) (status int, e *wire.Error) {
	e = &wire.Error{Message: err.Error()}
	var (
		request  *httpapi.RequestError
		notFound notFoundError
		readOnly readOnlyError
	)
	switch {
	case errors.As(err, &request):
		status, e.Type = request.Status, wire.TypeError
	case errors.Is(err, wire.ErrNoSHA256):
		status, e.Type, e.Arg = http.StatusBadRequest, wire.TypeKey, "sha256"
	case errors.As(err, &notFound):
		status, e.Type, e.ObjID = http.StatusBadRequest, wire.TypeNotFound, notFound.id
	case errors.As(err, &readOnly):
		status, e.Type, e.Arg = http.StatusBadRequest, wire.TypeReadOnly, readOnly.method
	case errors.Is(err, ErrCorrupted):
		status, e.Type = http.StatusBadRequest, wire.TypeCorrupted
	case errors.Is(err, ErrForbidden):
		status, e.Type = http.StatusForbidden, wire.TypePermission
	case errors.Is(err, ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		status, e.Type = http.StatusServiceUnavailable, wire.TypeUnavailable
	default:
		status, e.Type = http.StatusInternalServerError, wire.TypeUnavailable
	}
	return status, e
}

// kindOf is the type of err, "" if it is nil.
func kindOf(err error) string {
	if err == nil {
		return ""
	}
	_, e := describe(err)
	return e.Type
}
