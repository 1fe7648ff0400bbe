// SPDX-License-Identifier: GPL-3.0-or-later

package httpapi_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"winery/internal/httpapi"
	"winery/test/certtest"
	"winery/test/expect"
)

var discard = slog.New(slog.DiscardHandler)

// listen runs a server and gives its address.
func listen(t *testing.T, h http.Handler, configure ...func(*http.Server)) string {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	server := httpapi.NewServer(ctx, h, httpapi.MaxConnections, discard)
	for _, c := range configure {
		c(server)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- server.Serve(listener) }()
	t.Cleanup(func() {
		stop()
		patience, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := server.Shutdown(patience); err != nil {
			t.Error(err)
		}
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return listener.Addr().String()
}

// dial opens a connection that gives up after a minute, and sends text.
func dial(t *testing.T, address, text string) net.Conn {
	t.Helper()
	return dialFrom(t, "127.0.0.1", address, text)
}

// dialFrom connects from a host, which is an address of the loopback network.
func dialFrom(t *testing.T, host, address, text string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(host)}}
	conn, err := d.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	return conn
}

// muchLonger is more than quick limits allow, and less than a connection of dial lasts.
const muchLonger = 40 * time.Second

// quick are limits with short times.
func quick() *httpapi.Limits {
	l := httpapi.DefaultLimits()
	l.BodyStall, l.AnswerStall, l.Patience = 200*time.Millisecond, 200*time.Millisecond, 400*time.Millisecond
	return l
}

// TestUnsentBody: if a client announces a body and does not send it, its
// connection is closed, whether or not a handler reads the body.
func TestUnsentBody(t *testing.T) {
	reads := api(func(_ http.ResponseWriter, r *http.Request) error {
		_, charge, err := httpapi.ReadBody(r, httpapi.DefaultLimits(), 1<<40, 1)
		if err == nil {
			charge.Release()
		}
		return err
	})
	ignores := api(func(w http.ResponseWriter, _ *http.Request) error {
		httpapi.Text(w, http.StatusOK, "ignored")
		return nil
	})
	mux := http.NewServeMux()
	mux.Handle("/reads", httpapi.Handler(reads, httpapi.Options{Limits: quick(), Log: discard}))
	mux.Handle("/ignores", httpapi.Handler(ignores, httpapi.Options{Limits: quick(), Log: discard}))
	address := listen(t, mux, func(s *http.Server) { s.ReadTimeout /= 100 })
	for _, request := range []string{
		"POST /reads", "GET /ignores", "HEAD /ignores",
		"GET //ignores", // answered by the mux
		"GET /nothing",
	} {
		conn := dial(t, address, request+" HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
		// net/http itself tells what it could not read.
		if _, err := io.Copy(io.Discard, conn); err != nil {
			t.Errorf("%s: the connection was not closed: %v", request, err)
		}
	}
}

// TestSlowBody holds that a body that trickles is cut off, though it never stalls.
func TestSlowBody(t *testing.T) {
	l := quick()
	failed := make(chan error, 1)
	address := listen(t, httpapi.Handler(api(func(_ http.ResponseWriter, r *http.Request) error {
		_, _, err := httpapi.ReadBody(r, l, 1<<40, 1)
		failed <- err
		return err
	}), httpapi.Options{Limits: l, Log: discard}))
	conn := dial(t, address, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
				_, _ = conn.Write([]byte("x"))
			}
		}
	}()
	var refused *httpapi.RequestError
	start := time.Now()
	if err := <-failed; !errors.As(err, &refused) || refused.Status != http.StatusRequestTimeout || time.Since(start) > muchLonger {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
}

// TestSlowReader holds that a client that takes its answer too slowly is cut off.
func TestSlowReader(t *testing.T) {
	for name, read := range map[string]int{"nothing": 0, "too little": 1} {
		l := quick()
		l.AnswerStall = time.Minute
		if read == 0 {
			l.AnswerStall, l.Patience = 200*time.Millisecond, time.Minute
		}
		l.MinRate = 1 << 40
		ended := make(chan error, 1)
		address := listen(t, httpapi.Handler(api(func(w http.ResponseWriter, _ *http.Request) error {
			_, err := w.Write(make([]byte, 64<<20))
			ended <- err
			return nil
		}), httpapi.Options{Limits: l, Log: discard}))
		conn := dial(t, address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		stop := make(chan struct{})
		go func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(10 * time.Millisecond):
					_, _ = io.CopyN(io.Discard, conn, int64(read))
				}
			}
		}()
		var timeout net.Error
		start := time.Now()
		if err := <-ended; !errors.As(err, &timeout) || !timeout.Timeout() || time.Since(start) > muchLonger {
			t.Errorf("%s: after %v: %v", name, time.Since(start), err)
		}
		close(stop)
	}
}

// TestStopping holds that the end of the server's context ends what requests do, also those that change something.
func TestStopping(t *testing.T) {
	ctx, stop := context.WithCancel(context.Background())
	working, ended := make(chan struct{}), make(chan error, 1)
	address := listen(t, httpapi.Handler(api(func(_ http.ResponseWriter, r *http.Request) error {
		close(working)
		<-r.Context().Done()
		ended <- context.Cause(r.Context())
		return r.Context().Err()
	}), httpapi.Options{Limits: httpapi.DefaultLimits(), Log: discard}), func(s *http.Server) {
		s.BaseContext = httpapi.NewServer(ctx, nil, httpapi.MaxConnections, discard).BaseContext
	})
	conn := dial(t, address, "PUT / HTTP/1.1\r\nHost: x\r\n\r\n")
	<-working
	stop()
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "shutting down") {
		t.Error(err)
	}
	if answer, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || answer.StatusCode != http.StatusTeapot {
		t.Error(answer, err)
	}
}

// TestConnectionFlood holds that connections without requests make room for those with.
func TestConnectionFlood(t *testing.T) {
	address := listen(t, httpapi.Handler(api(func(w http.ResponseWriter, _ *http.Request) error {
		httpapi.Text(w, http.StatusOK, "here")
		return nil
	}), httpapi.Options{Limits: httpapi.DefaultLimits(), Log: discard}), func(s *http.Server) {
		s.ConnState = httpapi.NewServer(t.Context(), nil, 10, discard).ConnState
	})
	var silent []net.Conn
	for i := range 10 { // of two hosts
		silent = append(silent, dialFrom(t, fmt.Sprintf("127.0.0.%d", 2+i%2), address, "GET / HTTP/1.1\r\n"))
	}
	for i := range 5 {
		conn := dial(t, address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Fatalf("request %d: %v, %v", i, answer, err)
		}
	}
	for i, conn := range silent[:5] {
		if n, err := conn.Read(make([]byte, 1)); err == nil {
			t.Errorf("connection %d, one of those that waited longest, is open: %d bytes", i, n)
		}
	}
	_, _ = fmt.Fprint(silent[9], "Host: x\r\n\r\n")
	if answer, err := http.ReadResponse(bufio.NewReader(silent[9]), nil); err != nil || answer.StatusCode != http.StatusOK {
		t.Errorf("the last one: %v, %v", answer, err)
	}
}

// TestCloseWithoutFarewell: a client that reads nothing does not block those that connect,
// when its TLS connection is closed to make room. By itself, TLS would wait for it for 5 s.
func TestCloseWithoutFarewell(t *testing.T) {
	dir, ca := t.TempDir(), certtest.New(t)
	certificate, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	ca.Server(certificate, key)
	pair, err := tls.LoadX509KeyPair(certificate, key)
	expect.NoError(t, err)
	theirs, ours := net.Pipe() // without buffers
	client := tls.Client(theirs, &tls.Config{RootCAs: ca.Pool(), ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12})
	server := tls.Server(ours, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12})
	shaken := make(chan error, 1)
	go func() { shaken <- client.Handshake() }()
	expect.NoError(t, server.Handshake())
	expect.NoError(t, <-shaken)

	note := httpapi.NewServer(t.Context(), nil, 1, discard).ConnState
	note(server, http.StateNew)
	_, another := net.Pipe()
	began := time.Now()
	note(another, http.StateNew)
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it took %v", took)
	}
	if _, err := theirs.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the connection is open: %v", err)
	}
}

// TestConnectionsOfOneHost: a host that opens more than half of the connections
// closes its own, and not those of other hosts.
func TestConnectionsOfOneHost(t *testing.T) {
	address := listen(t, httpapi.Handler(api(func(w http.ResponseWriter, _ *http.Request) error {
		httpapi.Text(w, http.StatusOK, "here")
		return nil
	}), httpapi.Options{Limits: httpapi.DefaultLimits(), Log: discard}), func(s *http.Server) {
		s.ConnState = httpapi.NewServer(t.Context(), nil, 10, discard).ConnState
	})
	other := dialFrom(t, "127.0.0.2", address, "GET / HTTP/1.1\r\n")
	var flood []net.Conn
	for range 20 {
		flood = append(flood, dialFrom(t, "127.0.0.3", address, "GET / HTTP/1.1\r\n"))
	}
	for i, conn := range flood[:15] {
		if n, err := conn.Read(make([]byte, 1)); err == nil {
			t.Errorf("connection %d of the flood is open: %d bytes", i, n)
		}
	}
	for _, conn := range []net.Conn{other, flood[19]} {
		_, _ = fmt.Fprint(conn, "Host: x\r\n\r\n")
		if answer, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || answer.StatusCode != http.StatusOK {
			t.Errorf("%v: %v, %v", conn.LocalAddr(), answer, err)
		}
	}
}
