// SPDX-License-Identifier: GPL-3.0-or-later

package writer

import (
	"context"
	"crypto/rand"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// selfCheck makes the connections by which the writer asks itself, and keeps them out of
// the limit of connections: clients that use all of them must not end the writer.
type selfCheck struct {
	own atomic.Value // string: the client's address of the connection that was made last
}

// exempt hides the connections from server's ConnState, which closes those beyond the limit.
func (s *selfCheck) exempt(server *http.Server) {
	note := server.ConnState
	server.ConnState = func(conn net.Conn, state http.ConnState) {
		if conn.RemoteAddr().String() != s.own.Load() {
			note(conn, state)
		}
	}
}

// dial connects to a listener of this process. The address of the client's end is known
// before the server sees the connection.
func (s *selfCheck) dial(ctx context.Context, to net.Addr) (net.Conn, error) {
	var d net.Dialer
	address := to.String()
	switch to := to.(type) {
	case *net.UnixAddr:
		name := "@winery-" + rand.Text()
		s.own.Store(name)
		d.LocalAddr = &net.UnixAddr{Net: to.Net, Name: name}
	case *net.TCPAddr:
		host := to.AddrPort().Addr().Unmap()
		switch host {
		case netip.IPv4Unspecified():
			host = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		case netip.IPv6Unspecified():
			host = netip.IPv6Loopback()
		}
		address = netip.AddrPortFrom(host, to.AddrPort().Port()).String()
		d.Control = func(_, _ string, socket syscall.RawConn) error {
			return socket.Control(func(fd uintptr) { s.bind(int(fd), host) })
		}
	}
	return d.DialContext(ctx, to.Network(), address)
}

// bind gives a socket an address of this host and a free port. A connection for which
// that fails is counted as any other.
func (s *selfCheck) bind(fd int, host netip.Addr) {
	var local unix.Sockaddr = &unix.SockaddrInet6{Addr: host.As16()}
	if host.Is4() {
		local = &unix.SockaddrInet4{Addr: host.As4()}
	}
	if unix.Bind(fd, local) != nil {
		return
	}
	var port int
	switch bound, _ := unix.Getsockname(fd); bound := bound.(type) {
	case *unix.SockaddrInet4:
		port = bound.Port
	case *unix.SockaddrInet6:
		port = bound.Port
	}
	s.own.Store(netip.AddrPortFrom(host, uint16(port)).String())
}
