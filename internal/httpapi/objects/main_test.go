// SPDX-License-Identifier: GPL-3.0-or-later

package objects_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"winery/internal/httpapi"
	"winery/internal/httpapi/objects"
	"winery/internal/httpapi/rpc/rpctest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// maxSize is the largest object that the servers under test accept.
const maxSize = 1000

func serve(t *testing.T, store objects.Store, readOnly bool) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(objects.NewHandler(store, objects.Options{
		ReadOnly: readOnly, MaxObjectSize: maxSize, Limits: httpapi.DefaultLimits(), Log: slog.New(slog.DiscardHandler),
	}))
	t.Cleanup(func() {
		server.Client().CloseIdleConnections()
		server.Close()
	})
	return server
}

type reply struct {
	status int
	header http.Header
	text   string
}

// do sends a request, with headers in the form "Name: value".
func do(t *testing.T, server *httptest.Server, method, path, body string, headers ...string) reply {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		request.Header.Add(name, value)
	}
	response, err := server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{response.StatusCode, response.Header, string(text)}
}

func address(content string) string {
	return fmt.Sprintf("/objects/%x", sha256.Sum256([]byte(content)))
}
func etag(content string) string { return fmt.Sprintf(`"%x"`, sha256.Sum256([]byte(content))) }

// put stores objects in a store past its handler.
func put(store *rpctest.Store, contents ...string) {
	for _, c := range contents {
		store.Put(sha256.Sum256([]byte(c)), []byte(c))
	}
}

// TestErrors has what a store fails with, and what becomes of it.
func TestErrors(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		says   string
	}{
		{httpapi.ErrNotFound, http.StatusNotFound, "object not found\n"},
		{httpapi.Unavailable("the database is unavailable", io.ErrNoProgress), http.StatusServiceUnavailable,
			"the database is unavailable; try again; request id ID\n"},
		{httpapi.ErrUnavailable, http.StatusServiceUnavailable, "the object storage is unavailable; try again; request id ID\n"},
		{context.DeadlineExceeded, http.StatusServiceUnavailable, "the object storage did not answer in time; try again; request id ID\n"},
		{httpapi.ErrCorrupted, http.StatusInternalServerError, "the stored object is damaged; request id ID\n"},
		{io.ErrNoProgress, http.StatusInternalServerError, "internal error; request id ID\n"},
	} {
		var store rpctest.Store
		put(&store, "x")
		store.Fail(fmt.Errorf("user=winery host=secret: %w", c.err))
		server := serve(t, &store, false)
		for name, got := range map[string]reply{
			"get":  do(t, server, "GET", address("x"), ""),
			"ask":  do(t, server, "GET", address("x"), "", "If-None-Match: "+etag("x")),
			"put":  do(t, server, "PUT", address("x"), "x"),
			"list": do(t, server, "GET", "/objects", ""),
		} {
			if got.status != c.status || strings.Replace(got.text, got.header.Get(httpapi.RequestID), "ID", 1) != c.says || got.header.Get("Cache-Control") != "no-store" ||
				(c.status == http.StatusServiceUnavailable) != (got.header.Get("Retry-After") != "") {
				t.Errorf("%s, %v: %+v", name, c.err, got)
			}
		}
	}
}

// TestRefused has requests that nothing can be done for.
func TestRefused(t *testing.T) {
	var store rpctest.Store
	put(&store, "x")
	server, readOnly := serve(t, &store, false), serve(t, &store, true)
	id := strings.Repeat("0", 64)
	for _, c := range []struct {
		server       *httptest.Server
		method, path string
		status       int
		says         string // in the text, or in Allow
	}{
		{server, "GET", "/objects/" + id[1:], 400, "64 hex digits"},
		{server, "GET", "/objects/" + id + "0", 400, "64 hex digits"},
		{server, "GET", "/objects/" + id[1:] + "g", 400, "64 hex digits"},
		{server, "GET", "/objects/", 400, "64 hex digits"},
		{server, "GET", "/objects/" + id + "/", 404, "/objects/SHA256"},
		{server, "GET", "/objects/" + id, 404, "object not found"},
		{server, "HEAD", "/objects/" + id, 404, ""},
		{server, "DELETE", address("x"), 405, "GET, HEAD, PUT"},
		{server, "POST", "/objects", 405, "GET, HEAD"},
		{server, "HEAD", "/objects", 200, ""},
		{server, "HEAD", "/objects?limit=0", 400, ""},
		{readOnly, "PUT", address("x"), 405, "GET, HEAD"},
		{server, "GET", "/objects?after=" + id[1:], 400, "64 hex digits"},
		{server, "GET", "/objects?limit=0", 400, "from 1 to 1000000"},
		{server, "GET", "/objects?limit=1000001", 400, "from 1 to 1000000"},
		{server, "GET", "/objects?limit=many", 400, "from 1 to 1000000"},
		{server, "GET", "/objects?from=1", 400, `not "from"`},
		{server, "GET", "/objects?after=%zz", 400, "cannot be read"},
		{server, "GET", "/objects?limit=2;after=0", 400, "cannot be read"},
		{server, "GET", "/objects?limit=2&limit=2", 400, "2 times"},
		{server, "GET", "/objects?after=" + id + "&after=" + id, 400, "2 times"},
		{server, "GET", "/objects?limit=", 400, "from 1 to 1000000"},
		{server, "GET", "/objects?limit=%2B2", 400, "from 1 to 1000000"},
		{server, "GET", "/objects?limit=2&", 200, ""},
		{server, "GET", "/objects?after=&limit=2", 200, ""},
	} {
		got := do(t, c.server, c.method, c.path, "")
		if got.status != c.status || !strings.Contains(got.text+got.header.Get("Allow"), c.says) ||
			!strings.HasPrefix(got.header.Get("Content-Type"), "text/plain") || got.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s %s: %+v", c.method, c.path, got)
		}
	}
	if got := do(t, readOnly, "GET", address("x"), ""); got.text != "x" {
		t.Errorf("reading where it is read-only: %+v", got)
	}
}
