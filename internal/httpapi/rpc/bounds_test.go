// SPDX-License-Identifier: GPL-3.0-or-later

package rpc_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"winery/internal/httpapi"
	"winery/internal/httpapi/rpc"
	"winery/internal/httpapi/rpc/rpctest"
	"winery/internal/httpapi/rpc/wire"
)

// TestMemoryForBodies fills the memory for bodies with one request that is under work.
func TestMemoryForBodies(t *testing.T) {
	var store rpctest.Store
	working, finish := make(chan struct{}), make(chan struct{})
	store.Before(func(context.Context) error {
		working <- struct{}{}
		<-finish
		return nil
	})
	server := serve(t, &store, rpc.Options{MaxObjectSize: 20 << 20, MaxBatchBytes: 21 << 20, Bodies: httpapi.NewBodies(21<<20, 20*time.Millisecond)})
	var wg sync.WaitGroup
	wg.Go(func() {
		content := bytes.Repeat([]byte("x"), 20<<20)
		body := text(wire.Request{Contents: []rpc.Object{{ID: key("x"), Content: content}}}.Encode(wire.MsgPack))
		if got := do(t, server, "POST", "/content/add/batch", asMsgPack, body); got.status != http.StatusOK {
			t.Errorf("the large request: %+v", got)
		}
	})
	<-working
	large := text(wire.Request{Contents: []rpc.Object{{ID: key("y"), Content: make([]byte, 2<<20)}}}.Encode(wire.MsgPack))
	got := do(t, server, "POST", "/content/add/batch", asMsgPack, large)
	if e := got.error(t); got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" || !strings.Contains(e.Message, "memory") {
		t.Errorf("%+v", got)
	}
	close(finish)
	wg.Wait()
	go func() { <-working }()
	if got := do(t, server, "POST", "/content/add/batch", asMsgPack, large); got.status != http.StatusOK {
		t.Errorf("after the memory is free again: %+v", got)
	}
}

// TestGetBatchTooLarge stops once the objects are more than an answer may hold.
func TestGetBatchTooLarge(t *testing.T) {
	var store rpctest.Store
	store.Put(key("x"), make([]byte, 10_000))
	server := serve(t, &store, rpc.Options{MaxObjectSize: 10_000, MaxBatchBytes: 100_000})
	ids := make([][32]byte, 11)
	for i := range ids {
		ids[i] = key("x")
	}
	if got := post(t, server, "/content/get/batch", wire.Request{ObjIDs: ids[:10]}); got.status != http.StatusOK {
		t.Errorf("%+v", got)
	}
	got := post(t, server, "/content/get/batch", wire.Request{ObjIDs: ids})
	if got.status != http.StatusRequestEntityTooLarge || !strings.Contains(got.error(t).Message, "fewer") {
		t.Errorf("%+v", got)
	}
}

// dial opens a connection to the server for requests that no client library would send.
func dial(t *testing.T, url string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	return conn
}

func answer(t *testing.T, conn net.Conn) *http.Response {
	t.Helper()
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	return response
}

func TestRawRequests(t *testing.T) {
	server := serve(t, new(rpctest.Store), rpc.Options{})
	const head = "POST /content/add HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-msgpack\r\n"
	for name, c := range map[string]struct {
		send   string
		status int
	}{
		"chunked":                  {head + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", http.StatusLengthRequired},
		"too large, asks first":    {head + "Content-Length: 99999999999\r\nExpect: 100-continue\r\n\r\n", http.StatusRequestEntityTooLarge},
		"largest length there is":  {head + "Content-Length: 9223372036854775807\r\nExpect: 100-continue\r\n\r\n", http.StatusRequestEntityTooLarge},
		"too large, sent entirely": {head + "Content-Length: 210000000\r\n\r\n" + strings.Repeat("x", 210_000_000), http.StatusRequestEntityTooLarge},
	} {
		conn := dial(t, server.URL)
		if _, err := fmt.Fprint(conn, c.send); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := answer(t, conn); got.StatusCode != c.status {
			t.Errorf("%s: got %s, expected %d", name, got.Status, c.status)
		}
	}
	// A body that ends too early.
	conn := dial(t, server.URL)
	if _, err := fmt.Fprint(conn, head+"Content-Length: 1000\r\n\r\nabc"); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got := answer(t, conn); got.StatusCode != http.StatusRequestTimeout && got.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a body that ends: %s", got.Status)
	}
}

// TestPanic holds that a panic is answered and logged, and ends nothing else.
func TestPanic(t *testing.T) {
	var store rpctest.Store
	var log lockedBuffer
	server := serve(t, &store, rpc.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	store.Before(func(context.Context) error { panic("a secret") })
	got := post(t, server, "/content/contains", wire.Request{ObjID: id("x")})
	if e := got.error(t); got.status != http.StatusInternalServerError || strings.Contains(got.text, "secret") || e.Type != "ObjStorageAPIError" {
		t.Errorf("%+v", got)
	}
	store.Before(nil)
	if got := post(t, server, "/content/contains", wire.Request{ObjID: id("x")}); got.text != "false" {
		t.Errorf("after a panic: %+v", got)
	}
	for _, says := range []string{"level=ERROR", "id=" + got.header.Get("X-Request-Id"), "status=500", "a secret", "/content/contains"} {
		if !strings.Contains(log.String(), says) {
			t.Errorf("%q is not in the log: %s", says, log.String())
		}
	}
	if n := strings.Count(log.String(), "level="); n != 1 {
		t.Errorf("%d lines in the log at level info and above: %s", n, log.String())
	}
}

// TestAccessLog holds that each request has a line at level debug.
func TestAccessLog(t *testing.T) {
	var log lockedBuffer
	handler := rpc.NewHandler(new(rpctest.Store), rpc.Options{Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/content/get", strings.NewReader(text(wire.Request{ObjID: id("x")}.Encode(wire.JSON))))
	request.Header.Set("Content-Type", asJSON)
	handler.ServeHTTP(httptest.NewRecorder(), request)
	for _, says := range []string{"level=DEBUG", "method=POST", "path=/content/get", "status=400", "id=", "err=\"Object not found"} {
		if !strings.Contains(log.String(), says) {
			t.Errorf("%q is not in the log: %s", says, log.String())
		}
	}
}

// TestClientGone holds that the store hears of a client that goes away.
func TestClientGone(t *testing.T) {
	var store rpctest.Store
	server := serve(t, &store, rpc.Options{})
	heard := make(chan error, 1)
	working := make(chan struct{})
	store.Before(func(ctx context.Context) error {
		close(working)
		<-ctx.Done()
		heard <- ctx.Err()
		return ctx.Err()
	})
	ctx, cancel := context.WithCancel(t.Context())
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+"/content/contains",
		strings.NewReader(text(wire.Request{ObjID: id("x")}.Encode(wire.JSON))))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", asJSON)
	go func() {
		<-working
		cancel()
	}()
	if response, err := server.Client().Do(request); err == nil {
		_ = response.Body.Close()
		t.Error("an answer for a request that was given up")
	}
	if err := <-heard; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
