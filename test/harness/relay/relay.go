// SPDX-License-Identifier: GPL-3.0-or-later

// Package relay is a proxy between a process and its PostgreSQL, or another server: connections can
// be cut, refused, and delayed while they stay open. Tests and make chaos use it
// for network faults.
package relay

import (
	"fmt"
	"net"
	"net/url"
	"sync"
)

// Relay passes what comes on a port of the loopback interface on to a server,
// and back. Its methods may be called concurrently.
type Relay struct {
	listener net.Listener
	server   string
	work     sync.WaitGroup

	mu      sync.Mutex
	conns   map[*net.TCPConn]bool
	cut     bool
	refused int           // connections since the last Cut
	held    int           // pieces of data since the last Hold
	open    chan struct{} // closed while data may pass
}

// To starts a relay to server, HOST:PORT. It ends with Close.
func To(server string) (*Relay, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &Relay{listener: listener, server: server, conns: map[*net.TCPConn]bool{}, open: make(chan struct{})}
	close(r.open)
	r.work.Go(r.accept)
	return r, nil
}

// Database starts a relay to the database of a DSN, which must be a URL with a
// host, and returns the DSN of that database behind the relay.
func Database(dsn string) (*Relay, string, error) {
	u, err := url.Parse(dsn)
	if err != nil || u.Port() == "" {
		return nil, "", fmt.Errorf("a relay needs a DSN that is a URL with host and port")
	}
	r, err := To(u.Host)
	if err != nil {
		return nil, "", err
	}
	u.Host = r.Address()
	return r, u.String(), nil
}

// Address is HOST:PORT, where the relay listens.
func (r *Relay) Address() string { return r.listener.Addr().String() }

// Close ends all connections and takes no more.
func (r *Relay) Close() {
	_ = r.listener.Close()
	r.Cut()
	r.Resume()
	r.work.Wait()
}

// Cut resets all connections, and those that are made until Join.
func (r *Relay) Cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut, r.refused = true, 0
	for c := range r.conns {
		reset(c)
	}
	clear(r.conns)
}

// Join undoes Cut.
func (r *Relay) Join() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut = false
}

// Refused is how many connections were refused since the last Cut.
func (r *Relay) Refused() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refused
}

// Hold lets nothing pass any more, while connections stay and can be made.
func (r *Relay) Hold() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held = 0
	select {
	case <-r.open:
		r.open = make(chan struct{})
	default: // held already
	}
}

// Resume undoes Hold: what was held back passes.
func (r *Relay) Resume() {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.open:
	default:
		close(r.open)
	}
}

// Held is how many pieces of data were held back since the last Hold.
func (r *Relay) Held() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held
}

func (r *Relay) accept() {
	for {
		client, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.join(client.(*net.TCPConn))
	}
}

// join connects a client to the server, unless the relay is cut.
func (r *Relay) join(client *net.TCPConn) {
	dialled, err := net.Dial("tcp", r.server)
	if err != nil {
		reset(client)
		return
	}
	server := dialled.(*net.TCPConn)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cut {
		r.refused++
		reset(client)
		reset(server)
		return
	}
	r.conns[client], r.conns[server] = true, true
	r.work.Go(func() { r.pass(client, server) })
	r.work.Go(func() { r.pass(server, client) })
}

// pass carries data one way, until either end is closed.
func (r *Relay) pass(to, from *net.TCPConn) {
	defer func() {
		_ = to.Close()
		r.mu.Lock()
		delete(r.conns, to)
		r.mu.Unlock()
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		<-r.gate()
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// gate counts a piece of data, and returns what is closed once it may pass.
func (r *Relay) gate() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held++
	return r.open
}

// reset ends a connection as a network does that lost it: without a farewell.
func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}
