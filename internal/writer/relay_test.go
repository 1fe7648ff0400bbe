// SPDX-License-Identifier: GPL-3.0-or-later

package writer_test

import (
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"

	"winery/internal/testpg"
)

// relay stands between a writer and PostgreSQL: it can be cut, and it can
// hold back what is on its way.
type relay struct {
	listener net.Listener
	server   string
	held     sync.RWMutex // locked: nothing passes
	arrived  atomic.Int64 // pieces of data that came, held or not
	refused  atomic.Int64 // connections
	work     sync.WaitGroup

	mu    sync.Mutex
	down  bool
	conns []net.Conn
}

// relayed returns a relay and the DSN of dsn's database behind it.
func relayed(t *testing.T, dsn string) (*relay, string) {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil || u.Host == "" {
		t.Fatalf("%s must be a URL with a host for this test", testpg.Env)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listener: listener, server: u.Host}
	r.work.Go(r.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		r.cut()
		r.work.Wait()
	})
	u.Host = listener.Addr().String()
	return r, u.String()
}

func (r *relay) accept() {
	for {
		client, err := r.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", r.server)
		if err != nil {
			_ = client.Close()
			continue
		}
		r.mu.Lock()
		if r.down {
			_, _ = client.Close(), server.Close()
			r.refused.Add(1)
		} else {
			r.conns = append(r.conns, client, server)
			r.work.Go(func() { r.pass(client, server) })
			r.work.Go(func() { r.pass(server, client) })
		}
		r.mu.Unlock()
	}
}

func (r *relay) pass(to, from net.Conn) {
	defer func() { _ = to.Close() }()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		r.arrived.Add(1)
		r.held.RLock()
		_, err = to.Write(buf[:n])
		r.held.RUnlock()
		if err != nil {
			return
		}
	}
}

// hold holds back what comes from now on. It returns a function that waits
// until something has come, and one that lets all pass again.
func (r *relay) hold(t *testing.T) (waitForData, resume func()) {
	before := r.arrived.Load()
	r.held.Lock()
	resume = sync.OnceFunc(r.held.Unlock)
	t.Cleanup(resume)
	return func() {
		t.Helper()
		eventually(t, "data to be held back", func() bool { return r.arrived.Load() > before })
	}, resume
}

// cut ends all connections and lets none be made until restore.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = true
	for _, c := range r.conns {
		_ = c.Close()
	}
	r.conns = nil
}

func (r *relay) restore() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = false
}
