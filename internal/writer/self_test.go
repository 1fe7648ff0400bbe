// SPDX-License-Identifier: GPL-3.0-or-later

package writer

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"testing"

	"winery/internal/config"
	"winery/internal/httpapi"
	"winery/test/certtest"
	"winery/test/expect"
)

// TestSelfCheckAtTheLimit: the writer is alive while clients use all connections.
func TestSelfCheckAtTheLimit(t *testing.T) {
	dir, ca := t.TempDir(), certtest.New(t)
	files := config.TLS{Certificate: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	ca.Server(files.Certificate, files.Key)
	withTLS, err := NewProtection(config.Winery{TLS: files})
	expect.NoError(t, err)
	for _, c := range []struct {
		network, address string
		connections      int // of which one client may have one
		protection       Protection
	}{
		{"tcp", "127.0.0.1:0", 2, Protection{}},
		{"tcp", "127.0.0.1:0", 2, withTLS},
		{"tcp", "0.0.0.0:0", 2, Protection{}},
		{"tcp", ":0", 2, Protection{}},
		{"tcp", "[::1]:0", 2, Protection{}},
		{"unix", filepath.Join(dir, "socket"), 1, Protection{}},
	} {
		working, finish := make(chan struct{}), make(chan struct{})
		mux := http.NewServeMux()
		mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { httpapi.Text(w, http.StatusOK, "here") })
		mux.HandleFunc("/blocked", func(http.ResponseWriter, *http.Request) { close(working); <-finish })
		self, log := &selfCheck{}, slog.New(slog.DiscardHandler)
		server := httpapi.NewServer(t.Context(), mux, c.connections, log)
		self.exempt(server)
		l, err := httpapi.Listen(t.Context(), c.network, c.address)
		expect.NoError(t, err)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = server.Serve(c.protection.wrap(l)) // until the Shutdown
		}()

		client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, c.network, l.Addr().String())
			if err != nil {
				return nil, err
			}
			return c.protection.wrapOwn(conn), nil
		}}}
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			if answer, err := client.Get("http://localhost/blocked"); err == nil {
				_ = answer.Body.Close()
			}
		}()
		<-working
		ctx, cancel := context.WithCancel(t.Context())
		alive := false
		watch(ctx, l.Addr(), c.protection, self, Options{
			Alive:   func() { alive = true },
			Serving: func(string, error) { cancel() },
		}, log, nil)
		if !alive {
			t.Errorf("%s %s: not alive", c.network, l.Addr())
		}
		close(finish)
		<-answered
		client.CloseIdleConnections()
		expect.NoError(t, server.Shutdown(t.Context()))
		<-ended
	}
}
