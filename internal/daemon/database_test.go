// SPDX-License-Identifier: GPL-3.0-or-later

package daemon_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"winery/internal/daemon"
	"winery/internal/testpg"
	"winery/sharedbase"
)

// relay stands between a role and PostgreSQL, and can be cut.
type relay struct {
	listener net.Listener
	server   string

	mu    sync.Mutex
	up    bool
	conns []net.Conn
	work  sync.WaitGroup
}

// relayed returns a relay that is cut, and the DSN of dsn's database behind it.
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
		r.mu.Lock()
		if err != nil || !r.up {
			_ = client.Close()
			if server != nil {
				_ = server.Close()
			}
			r.mu.Unlock()
			continue
		}
		r.conns = append(r.conns, client, server)
		for _, pair := range [][2]net.Conn{{client, server}, {server, client}} {
			r.work.Go(func() {
				_, _ = io.Copy(pair[0], pair[1])
				_ = pair[0].Close()
			})
		}
		r.mu.Unlock()
	}
}

func (r *relay) join() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.up = true
}

func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.up = false
	for _, c := range r.conns {
		_ = c.Close()
	}
	r.conns = nil
}

// initialised returns a database with the schema.
func initialised(t *testing.T) (*sharedbase.SharedBase, string) {
	t.Helper()
	dsn := testpg.New(t)
	base, err := sharedbase.New(dsn, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(base.Close)
	if _, err := base.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	return base, dsn
}

func TestOpenDatabase(t *testing.T) {
	_, dsn := initialised(t)
	t.Run("waits until it is there", func(t *testing.T) {
		r, dsn := relayed(t, dsn)
		p := start(t, "database", dsn)
		p.stderr.wait(t, "waiting for the database")
		r.join()
		p.expect("open")
		p.signal(syscall.SIGTERM)
		p.end(0, "retry_in=")
	})
	t.Run("a wait ends by SIGINT", func(t *testing.T) {
		_, dsn := relayed(t, dsn)
		p := start(t, "database", dsn)
		p.stderr.wait(t, "waiting for the database")
		p.signal(syscall.SIGINT)
		p.end(0)
	})
	t.Run("does not wait instead of stopping", func(t *testing.T) {
		_, dsn := relayed(t, dsn)
		start(t, "database", dsn, "--stop-instead-of-waiting").end(1, "level=ERROR")
	})
	t.Run("stops when idle", func(t *testing.T) {
		p := start(t, "database", dsn, "--stop-instead-of-waiting")
		p.expect("open")
		p.end(0)
	})
	t.Run("has no schema", func(t *testing.T) {
		start(t, "database", testpg.New(t)).end(1, "the database is not initialised: run `wineryctl db init`")
	})
	t.Run("cannot be meant", func(t *testing.T) {
		start(t, "database", "postgresql://u:hunter2@h:x/db").end(2, "winery.yml: objstorage.database.db: ")
	})
}

// Changes wake, also after the connection was lost, which is said once.
func TestWake(t *testing.T) {
	base, dsn := initialised(t)
	r, dsn := relayed(t, dsn)
	behind, err := sharedbase.New(dsn, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer behind.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &lineBuffer{added: make(chan struct{}, 1)}
	wake := daemon.Wake(ctx, behind, slog.New(slog.NewTextHandler(out, nil)))

	woken := func(why string) {
		t.Helper()
		select {
		case <-wake:
		case <-time.After(30 * time.Second):
			t.Fatalf("not woken by %s; log:\n%s", why, out.String())
		}
	}
	out.wait(t, "polling goes on")
	r.join()
	woken("the connection")
	claim, err := base.CreateShard(t.Context(), sharedbase.StateWriting, "pool")
	if err != nil {
		t.Fatal(err)
	}
	woken("a new shard")
	if err := claim.SetState(t.Context(), sharedbase.StateFull); err != nil {
		t.Fatal(err)
	}
	woken("a full shard")
	if lines := strings.Count(out.String(), "\n"); lines != 1 {
		t.Errorf("%d lines about one outage:\n%s", lines, out.String())
	}
	r.cut()
	r.join()
	woken("the connection, again")
}
