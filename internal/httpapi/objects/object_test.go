// SPDX-License-Identifier: GPL-3.0-or-later

package objects_test

import (
	"context"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"winery/internal/httpapi/rpc"
	"winery/internal/httpapi/rpc/rpctest"
)

func TestGet(t *testing.T) {
	var store rpctest.Store
	put(&store, "0123456789", "")
	server := serve(t, &store, false)
	const immutable = "public, max-age=31536000, immutable"
	for name, c := range map[string]struct {
		got        reply
		status     int
		text       string
		name, want string // of a header
	}{
		"whole":            {do(t, server, "GET", address("0123456789"), ""), 200, "0123456789", "Content-Type", "application/octet-stream"},
		"for caches":       {do(t, server, "GET", address("0123456789"), ""), 200, "0123456789", "Cache-Control", immutable},
		"for browsers":     {do(t, server, "GET", address("0123456789"), ""), 200, "0123456789", "X-Content-Type-Options", "nosniff"},
		"by its tag":       {do(t, server, "GET", address("0123456789"), ""), 200, "0123456789", "Etag", etag("0123456789")},
		"in upper case":    {do(t, server, "GET", "/objects/"+strings.ToUpper(address("0123456789")[9:]), ""), 200, "0123456789", "Etag", etag("0123456789")},
		"empty":            {do(t, server, "GET", address(""), ""), 200, "", "Content-Length", "0"},
		"head":             {do(t, server, "HEAD", address("0123456789"), ""), 200, "", "Content-Length", "10"},
		"if none":          {do(t, server, "GET", address("0123456789"), "", "If-None-Match: "+etag("0123456789")), 304, "", "Cache-Control", immutable},
		"if none, deleted": {do(t, server, "GET", address("x"), "", "If-None-Match: "+etag("x")), 404, "object not found\n", "Cache-Control", "no-store"},
	} {
		if c.got.status != c.status || c.got.text != c.text || c.got.header.Get(c.name) != c.want {
			t.Errorf("%s: %+v", name, c.got)
		}
	}
}

func TestRanges(t *testing.T) {
	var store rpctest.Store
	put(&store, "0123456789")
	got := do(t, serve(t, &store, false), "GET", address("0123456789"), "", "Range: bytes=0-1,5-6")
	_, params, err := mime.ParseMediaType(got.header.Get("Content-Type"))
	if err != nil || got.status != http.StatusPartialContent {
		t.Fatalf("%v: %+v", err, got)
	}
	parts := multipart.NewReader(strings.NewReader(got.text), params["boundary"])
	for _, want := range []string{"bytes 0-1/10 01", "bytes 5-6/10 56"} {
		part, err := parts.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(part)
		if got := part.Header.Get("Content-Range") + " " + string(text); err != nil || got != want {
			t.Errorf("got %q (%v), want %q", got, err, want)
		}
	}
}

// counting is a store that counts reads, and can be set to fail them.
type counting struct {
	rpctest.Store
	gets atomic.Int32
	fail atomic.Pointer[error]
}

func (s *counting) failGets(err error) { s.fail.Store(&err) }

func (s *counting) Get(ctx context.Context, id [32]byte, admit rpc.Admit) ([]byte, error) {
	s.gets.Add(1)
	if err := s.fail.Load(); err != nil && *err != nil {
		return nil, *err
	}
	return s.Store.Get(ctx, id, admit)
}

// TestNotModified holds that a client that has the object costs no reading.
func TestNotModified(t *testing.T) {
	var store counting
	put(&store.Store, "x")
	got := do(t, serve(t, &store, false), "GET", address("x"), "", "If-None-Match: "+etag("x"))
	if got.status != http.StatusNotModified || store.gets.Load() != 0 {
		t.Errorf("%d reads: %+v", store.gets.Load(), got)
	}
}

func TestPut(t *testing.T) {
	var store rpctest.Store
	server := serve(t, &store, false)
	large := strings.Repeat("x", maxSize)
	for _, c := range []struct {
		path, body string
		status     int
		text       string
		objects    int
	}{
		{address("x"), "x", 201, address("x") + "\n", 1},
		{address("x"), "x", 204, "", 1},
		{address(""), "", 201, address("") + "\n", 2},
		{address(large), large, 201, address(large) + "\n", 3},
		{address(large + "x"), large + "x", 413, "the body has 1001 bytes", 3},
		{address("y"), "Y", 422, "the content has sha256 " + address("Y")[9:] + ", the address says " + address("y")[9:] + "\n", 3},
	} {
		got := do(t, server, "PUT", c.path, c.body)
		if got.status != c.status || !strings.HasPrefix(got.text, c.text) || store.Len() != c.objects {
			t.Errorf("%s: %+v; %d objects", c.path, got, store.Len())
		}
		if created := c.status == 201; created != (got.header.Get("Location") == c.path) || got.header.Get("Cache-Control") != "" && c.status < 300 {
			t.Errorf("%s: %+v", c.path, got)
		}
	}
	// Of a length that is not known beforehand.
	request, err := http.NewRequestWithContext(t.Context(), "PUT", server.URL+address("z"), io.MultiReader(strings.NewReader("z")))
	if err != nil {
		t.Fatal(err)
	}
	response, err := server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusLengthRequired {
		t.Errorf("chunked: %s", response.Status)
	}
}
