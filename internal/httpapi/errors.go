// SPDX-License-Identifier: GPL-3.0-or-later

package httpapi

import (
	"errors"
	"fmt"
)

// ErrUnavailable: the request may succeed when it is repeated.
var ErrUnavailable = errors.New("the object storage is not available now; try again")

// RequestError says that the request is at fault.
type RequestError struct {
	Status int    // of HTTP, 4xx
	Text   string // for the client
}

func (e *RequestError) Error() string { return e.Text }

// Refuse makes a *RequestError.
func Refuse(status int, format string, args ...any) error {
	return &RequestError{status, fmt.Sprintf(format, args...)}
}
