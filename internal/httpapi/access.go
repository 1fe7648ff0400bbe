// SPDX-License-Identifier: GPL-3.0-or-later

package httpapi

import (
	"net"
	"net/http"
)

// Right is what a request needs.
type Right string

// The rights. "" is the right that each client has.
const (
	Read   Right = "read"
	Write  Right = "write"
	Delete Right = "delete"
)

// Access decides whether a client may send a request.
type Access interface {
	// Admit returns the name of the client that sent the request, "" for an
	// unknown one that may send it, or a *RequestError. It sets the headers of a
	// refusal.
	Admit(w http.ResponseWriter, r *http.Request, needed Right) (client string, err error)
}

// admit asks o.Access about a request. Whoever may connect to a unix socket has
// all rights: the socket's mode decides.
func (o *Options) admit(w http.ResponseWriter, r *http.Request, needed Right) (client string, err error) {
	if o.Access == nil || needed == "" || OverUnixSocket(r) {
		return "", nil
	}
	return o.Access.Admit(w, r, needed)
}

// OverUnixSocket reports whether a request came through a unix socket.
func OverUnixSocket(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return ok && local.Network() == "unix"
}
