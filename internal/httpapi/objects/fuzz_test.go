// SPDX-License-Identifier: GPL-3.0-or-later

package objects_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"winery/internal/httpapi"
	"winery/internal/httpapi/objects"
	"winery/internal/httpapi/rpc/rpctest"
)

var methods = []string{"GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS"}

// FuzzHandler sends any request. The server never answers 5xx; a returned object
// has its name as SHA-256, or is the requested part of such an object; nothing is
// stored under a wrong name.
func FuzzHandler(f *testing.F) {
	there := address("there")
	f.Add(uint8(0), there, "", "", "", []byte{})
	f.Add(uint8(0), there, "", "bytes=1-2", "", []byte{})
	f.Add(uint8(0), there, "", "bytes=0-0,2-3,-1", "", []byte{})
	f.Add(uint8(0), there, "", "", etag("there"), []byte{})
	f.Add(uint8(0), "/objects", "after="+there[9:]+"&limit=1", "", "", []byte{})
	f.Add(uint8(0), "/objects", "limit=2", "", "*", []byte{})
	f.Add(uint8(1), there, "", "", "W/"+etag("there"), []byte{})
	f.Add(uint8(2), address("new"), "", "", "", []byte("new"))
	f.Add(uint8(2), address("new"), "", "", "", []byte("old"))
	f.Fuzz(func(t *testing.T, method uint8, path, query, ranges, match string, body []byte) {
		var store rpctest.Store
		put(&store, "there", "too", "")
		handler := objects.NewHandler(&store, objects.Options{
			MaxObjectSize: maxSize, Limits: httpapi.DefaultLimits(), Log: slog.New(slog.DiscardHandler),
		})
		request := httptest.NewRequestWithContext(t.Context(), methods[int(method)%len(methods)], "/", bytes.NewReader(body))
		request.URL = &url.URL{Path: path, RawQuery: query}
		request.Header["Range"], request.Header["If-None-Match"] = []string{ranges}, []string{match}
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, request)

		got := answer.Body.String()
		switch {
		case answer.Code < 200 || answer.Code >= 500:
			t.Fatalf("status %d: %q", answer.Code, got)
		case answer.Code == http.StatusOK && request.Method == http.MethodGet && path != "/objects":
			if path = strings.ToLower(path); path != address(got) {
				t.Fatalf("%q was given for %q", got, path)
			}
		case answer.Code == http.StatusPartialContent:
			if kind := answer.Header().Get("Content-Type"); strings.HasPrefix(kind, "application/") && !strings.Contains("there too", got) {
				t.Fatalf("%q was given for %q of %q", got, ranges, path)
			}
		}
		ids, err := store.List(t.Context(), [32]byte{}, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range ids {
			if content, err := store.Get(t.Context(), id, func(int64) error { return nil }); err != nil || sha256.Sum256(content) != id {
				t.Fatalf("%q is stored as %s, %v", content, fmt.Sprintf("%x", id), err)
			}
		}
	})
}
