// SPDX-License-Identifier: GPL-3.0-or-later

package writer

import (
	"crypto/tls"
	"net"
	"time"

	"winery/internal/config"
	"winery/internal/httpapi"
	"winery/internal/httpapi/access"
)

// Protection is TLS and the access file, as far as they are configured.
type Protection struct {
	certificates *access.Certificates // nil: no TLS
	guard        *access.Guard        // nil: every client has all rights
}

// NewProtection reads the files that w names. Its error is one of [config.FileError].
func NewProtection(w config.Winery) (p Protection, err error) {
	if w.TLS.Certificate != "" {
		if p.certificates, err = access.NewCertificates(access.Files(w.TLS)); err != nil {
			return p, config.FileError("winery.tls", err)
		}
	}
	if w.Access != "" {
		if p.guard, err = access.NewGuard(w.Access); err != nil {
			return p, config.FileError("winery.access", err)
		}
	}
	return p, nil
}

// Reload is a part of a Protection that comes from files.
type Reload struct {
	What string       // for the log
	Read func() error // reads the files again; after an error, what was read before holds
}

// Reloads returns the parts that can be read again, each by itself.
func (p Protection) Reloads() (parts []Reload) {
	if p.certificates != nil {
		parts = append(parts, Reload{"TLS certificates", p.certificates.Reload})
	}
	if p.guard != nil {
		parts = append(parts, Reload{"access file", p.guard.Reload})
	}
	return parts
}

// Expiry returns when the server's certificate expires, zero without TLS, and when the
// access of the clients does that have a last day.
func (p Protection) Expiry() (certificate time.Time, clients map[string]time.Time) {
	if p.certificates != nil {
		certificate = p.certificates.Expiry()
	}
	if p.guard != nil {
		clients = p.guard.Expiries()
	}
	return certificate, clients
}

// access is nil, and not a nil pointer in an interface, where there is no guard.
func (p Protection) access() httpapi.Access {
	if p.guard == nil {
		return nil
	}
	return p.guard
}

// wrap returns a listener with TLS, where that is configured. A unix socket has none.
func (p Protection) wrap(l net.Listener) net.Listener {
	if p.certificates == nil || l.Addr().Network() == "unix" {
		return l
	}
	return tls.NewListener(l, p.certificates.Config())
}

// wrapOwn returns a connection of this process to a listener of wrap, with TLS where that
// has it.
func (p Protection) wrapOwn(conn net.Conn) net.Conn {
	if p.certificates == nil || conn.RemoteAddr().Network() == "unix" {
		return conn
	}
	// The certificate names the host as clients know it, and nothing is sent that
	// another process must not see.
	return tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // see above
}
