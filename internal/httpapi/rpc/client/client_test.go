// SPDX-License-Identifier: GPL-3.0-or-later

package client_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"winery/internal/httpapi"
	"winery/internal/httpapi/rpc"
	"winery/internal/httpapi/rpc/client"
	"winery/internal/httpapi/rpc/rpctest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newClient(t *testing.T, address string, options ...client.Option) *client.Client {
	t.Helper()
	c, err := client.New(address, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func serve(t *testing.T, handler http.Handler) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

func winery(store rpc.Store, o rpc.Options) http.Handler {
	o.Log = slog.New(slog.DiscardHandler)
	return rpc.NewHandler(store, o)
}

func key(content string) [32]byte { return sha256.Sum256([]byte(content)) }

// useAll makes every call. The storage must be empty and allow everything.
func useAll(t *testing.T, c *client.Client) {
	t.Helper()
	ctx := t.Context()
	no := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	is := func(err, target error) {
		t.Helper()
		if !errors.Is(err, target) {
			t.Errorf("got %v, expected %v", err, target)
		}
	}
	ok, err := c.CheckConfig(ctx, true)
	if no(err); !ok {
		t.Error("cannot be written")
	}
	no(c.Add(ctx, key("one"), []byte("one")))
	no(c.Add(ctx, key(""), nil))
	if ok, err := c.Contains(ctx, key("one")); !ok || err != nil {
		t.Error(ok, err)
	}
	if ok, err := c.Contains(ctx, key("none")); ok || err != nil {
		t.Error(ok, err)
	}
	large := bytes.Repeat([]byte("0123456789"), 1<<20)
	objects := []client.Object{{ID: key("one"), Content: []byte("one")}, {ID: key("two"), Content: []byte("two")}, {ID: sha256.Sum256(large), Content: large}}
	if n, size, err := c.AddBatch(ctx, objects); n != 2 || size != int64(len(large)+3) || err != nil {
		t.Error(n, size, err)
	}
	if n, size, err := c.AddBatch(ctx, nil); n != 0 || size != 0 || err != nil {
		t.Error(n, size, err)
	}
	if got, err := c.Get(ctx, sha256.Sum256(large)); !bytes.Equal(got, large) || err != nil {
		t.Error(len(got), err)
	}
	if got, err := c.Get(ctx, key("")); got == nil || len(got) != 0 || err != nil {
		t.Error(got, err)
	}
	got, err := c.GetBatch(ctx, [][32]byte{key("two"), key("none"), key("")})
	if want := [][]byte{[]byte("two"), nil, {}}; !reflect.DeepEqual(got, want) || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := c.GetBatch(ctx, nil); len(got) != 0 || err != nil {
		t.Error(got, err)
	}
	no(c.Check(ctx, key("one")))
	no(c.Delete(ctx, key("one")))
	is(c.Delete(ctx, key("one")), client.ErrNotFound)
	is(c.Check(ctx, key("one")), client.ErrNotFound)
	_, err = c.Get(ctx, key("one"))
	is(err, client.ErrNotFound)
}

func TestCalls(t *testing.T) {
	useAll(t, newClient(t, serve(t, winery(new(rpctest.Store), rpc.Options{AllowDelete: true}))+"/"))
}

func TestUnixSocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "socket")
	c := newClient(t, "unix:"+socket)
	listening := make(chan *http.Server)
	go func() { // the client waits for it
		listener, err := net.Listen("unix", socket)
		if err != nil {
			t.Error(err)
			return
		}
		server := &http.Server{Handler: winery(new(rpctest.Store), rpc.Options{AllowDelete: true})}
		go func() { _ = server.Serve(listener) }()
		listening <- server
	}()
	if err := c.Delete(t.Context(), key("x")); !errors.Is(err, client.ErrNotFound) {
		t.Error(err)
	}
	server := <-listening
	useAll(t, c)
	if err := server.Close(); err != nil {
		t.Error(err)
	}
}

// TestPythonServer uses the server in Python.
func TestPythonServer(t *testing.T) {
	python := os.Getenv("WINERY_PYTHON")
	if python == "" {
		t.Fatal("WINERY_PYTHON must name a Python interpreter that has swh.objstorage: `make test` sets it")
	}
	cmd := exec.CommandContext(t.Context(), python, "testdata/server.py")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = stdin.Close()
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Errorf("%v\n%s", err, stderr.String())
		}
	}()
	address, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Error(err)
		return
	}
	useAll(t, newClient(t, strings.TrimSpace(address)))
	t.Log("interop: HTTP: our client → Python's server: 8 endpoints, 4 objects")
}

func TestMeaningOfErrors(t *testing.T) {
	var store, away rpctest.Store
	away.Fail(httpapi.ErrUnavailable)
	store.Put(key("right"), []byte("wrong"))
	full := newClient(t, serve(t, winery(&store, rpc.Options{MaxObjectSize: 10})))
	readOnly := newClient(t, serve(t, winery(&store, rpc.Options{ReadOnly: true})))
	gone := newClient(t, serve(t, winery(&away, rpc.Options{})), client.RetryFor(0))
	nobody := newClient(t, "unix:/nonexistent", client.RetryFor(0))
	html := newClient(t, serve(t, http.NotFoundHandler()))
	ctx := t.Context()
	meanings := []error{client.ErrNotFound, client.ErrCorrupted, client.ErrReadOnly, client.ErrForbidden, client.ErrUnavailable}
	for name, c := range map[string]struct {
		err    error
		target error // nil: none of the meanings
		status int   // 0: no answer
	}{
		"corrupted":  {full.Check(ctx, key("right")), client.ErrCorrupted, 400},
		"forbidden":  {full.Delete(ctx, key("right")), client.ErrForbidden, 403},
		"wrong sum":  {full.Add(ctx, key("a"), []byte("b")), nil, 400},
		"too large":  {full.Add(ctx, key("a"), make([]byte, 11)), nil, 413},
		"read-only":  {readOnly.Add(ctx, key("a"), []byte("a")), client.ErrReadOnly, 400},
		"away":       {gone.Add(ctx, key("a"), []byte("a")), client.ErrUnavailable, 503},
		"no server":  {nobody.Add(ctx, key("a"), []byte("a")), client.ErrUnavailable, 0},
		"not Winery": {html.Add(ctx, key("a"), []byte("a")), nil, 404},
	} {
		var answered *client.Error
		errors.As(c.err, &answered)
		if c.err == nil || c.err.Error() == "" || (answered == nil) != (c.status == 0) || answered != nil && answered.Status != c.status {
			t.Errorf("%s: %v", name, c.err)
		}
		for _, meaning := range meanings {
			if errors.Is(c.err, meaning) != errors.Is(c.target, meaning) {
				t.Errorf("%s: is %v %q?", name, c.err, meaning)
			}
		}
	}
}

func TestRetries(t *testing.T) {
	var store rpctest.Store
	var calls atomic.Int32
	address := serve(t, winery(&store, rpc.Options{AllowDelete: true}))
	store.Before(func(context.Context) error {
		if calls.Add(1)%3 == 0 {
			return nil
		}
		return httpapi.ErrUnavailable
	})
	var retries []error
	c := newClient(t, address, client.OnRetry(func(err error, _ time.Duration) { retries = append(retries, err) }))
	if err := c.Add(t.Context(), key("x"), []byte("x")); err != nil || calls.Load() != 3 {
		t.Errorf("%v after %d calls", err, calls.Load())
	}
	if len(retries) != 2 || !errors.Is(retries[0], client.ErrUnavailable) {
		t.Errorf("retries: %v", retries)
	}
	if err := c.Delete(t.Context(), key("x")); !errors.Is(err, client.ErrUnavailable) || calls.Load() != 4 {
		t.Errorf("a deletion, which must not be tried again: %v after %d calls", err, calls.Load())
	}
	if _, err := newClient(t, address, client.RetryFor(0)).Get(t.Context(), key("x")); !errors.Is(err, client.ErrUnavailable) || calls.Load() != 5 {
		t.Errorf("without retries: %v after %d calls", err, calls.Load())
	}

	for _, status := range []int{502, 503, 504} {
		var calls atomic.Int32
		proxy := newClient(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if calls.Add(1) == 1 {
				w.WriteHeader(status)
				return
			}
			winery(new(rpctest.Store), rpc.Options{}).ServeHTTP(w, r)
		})))
		if err := proxy.Add(t.Context(), key("x"), []byte("x")); err != nil || calls.Load() != 2 {
			t.Errorf("status %d: %v after %d calls", status, err, calls.Load())
		}
	}

	// A cancelled call returns at once.
	store.Fail(httpapi.ErrUnavailable)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := c.Contains(ctx, key("x")); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 10*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}

// TestBrokenConnections has a server that breaks two connections before it answers.
func TestBrokenConnections(t *testing.T) {
	inner := winery(new(rpctest.Store), rpc.Options{})
	var calls atomic.Int32
	c := newClient(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch calls.Add(1) {
		case 1:
			panic(http.ErrAbortHandler) // before the answer
		case 2:
			w.Header().Set("Content-Length", "100") // within it
			_, _ = w.Write([]byte("short"))
			panic(http.ErrAbortHandler)
		}
		inner.ServeHTTP(w, r)
	})))
	if err := c.Add(t.Context(), key("x"), []byte("x")); err != nil || calls.Load() != 3 {
		t.Errorf("%v after %d calls", err, calls.Load())
	}
}

func TestTimeout(t *testing.T) {
	var store rpctest.Store
	store.Before(func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	})
	c := newClient(t, serve(t, winery(&store, rpc.Options{})), client.Timeout(20*time.Millisecond), client.RetryFor(0))
	if _, err := c.Get(t.Context(), key("x")); !errors.Is(err, client.ErrUnavailable) {
		t.Error(err)
	}
}

func TestStrangeAnswers(t *testing.T) {
	for _, body := range []string{"", "\xc1", "\xc0\xc0", "\x91\xc0\xc0", "\xc6\xff\xff\xff\xff"} {
		c := newClient(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) })))
		if got, err := c.Get(t.Context(), key("x")); err == nil {
			t.Errorf("%q was read as %q", body, got)
		}
		if got, err := c.GetBatch(t.Context(), [][32]byte{key("x"), key("y")}); err == nil {
			t.Errorf("%q was read as %q", body, got)
		}
	}
}

func TestAddress(t *testing.T) {
	for _, address := range []string{"", "localhost:5003", "ftp://x", "http://", "http://u:hunter2@[", "://"} {
		if _, err := client.New(address); err == nil || !strings.Contains(err.Error(), "unix:/PATH") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", address, err)
		}
	}
}

// TestUntrustedServer: a certificate that is not trusted is not waited for.
func TestUntrustedServer(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	c := newClient(t, server.URL, client.Authorities(x509.NewCertPool()),
		client.OnRetry(func(err error, _ time.Duration) { t.Errorf("tried again after %v", err) }))
	if _, err := c.Contains(t.Context(), key("x")); !errors.Is(err, client.ErrUnavailable) || !strings.Contains(err.Error(), "--ca") {
		t.Error(err)
	}
}
