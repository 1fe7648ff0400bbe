// SPDX-License-Identifier: GPL-3.0-or-later

package rpc

import (
	"errors"
	"fmt"
	"net/http"

	"winery/internal/httpapi"
	"winery/internal/httpapi/rpc/wire"
)

// notFoundError is httpapi.ErrNotFound with the obj_id of the request.
type notFoundError struct{ id wire.ObjID }

func (e notFoundError) Error() string { return "Object not found: " + e.id.String() }
func (e notFoundError) Unwrap() error { return httpapi.ErrNotFound }

// damagedError is httpapi.ErrCorrupted with the obj_id.
type damagedError struct {
	id  wire.ObjID
	err error
}

func (e damagedError) Error() string { return e.err.Error() }
func (e damagedError) Unwrap() error { return e.err }

// readOnlyError is httpapi.ErrReadOnly with the method that was tried: Python's exception is made from its name.
type readOnlyError struct{ method string }

func (e readOnlyError) Error() string {
	return "This object storage is read-only: cannot use " + e.method
}
func (e readOnlyError) Unwrap() error { return httpapi.ErrReadOnly }

// describe turns err into the description that a client gets: the same as in every API, with the arguments of Python's
// exceptions.
func describe(w http.ResponseWriter, err error) (status int, e *wire.Error) {
	p := httpapi.Describe(w, err)
	e = &wire.Error{Type: p.Type, Message: p.Text}
	var (
		notFound notFoundError
		damaged  damagedError
		readOnly readOnlyError
	)
	switch {
	case errors.As(err, &notFound):
		e.ObjID, e.Message = notFound.id, notFound.Error()
	case errors.As(err, &damaged):
		e.Message = fmt.Sprintf("object corrupted: %s: %s", damaged.id, p.Text)
	case errors.As(err, &readOnly):
		e.Arg, e.Message = readOnly.method, readOnly.Error()
	case errors.Is(err, wire.ErrNoSHA256):
		e.Arg = "sha256"
	}
	return p.RPC, e
}
