// SPDX-License-Identifier: GPL-3.0-or-later

package objects_test

import (
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"winery/internal/httpapi"
	"winery/internal/httpapi/access"
	"winery/internal/httpapi/objects"
	"winery/internal/httpapi/rpc/rpctest"
	"winery/test/expect"
)

// TestCachesWithAccess: what a client gets by its token is not for caches that other clients share; what everybody
// may read is.
func TestCachesWithAccess(t *testing.T) {
	file := filepath.Join(t.TempDir(), "access.yml")
	expect.NoError(t, os.WriteFile(file, fmt.Appendf(nil,
		"clients: [{name: loader, token_sha256: %x, rights: [read]}]\nanonymous: [read]\n", sha256.Sum256([]byte("secret"))), 0o600))
	guard, err := access.NewGuard(file)
	expect.NoError(t, err)
	var store rpctest.Store
	put(&store, "0123456789")
	server := httptest.NewServer(objects.NewHandler(&store, objects.Options{
		MaxObjectSize: maxSize, Limits: httpapi.DefaultLimits(), Log: slog.New(slog.DiscardHandler), Access: guard,
	}))
	defer server.Close()
	defer server.Client().CloseIdleConnections()
	for _, request := range []struct {
		status int
		method string
		header string
	}{
		{200, "GET", "X: "},
		{200, "HEAD", "X: "},
		{206, "GET", "Range: bytes=0-3"},
		{206, "GET", "Range: bytes=0-1,4-5"},
		{304, "GET", "If-None-Match: " + etag("0123456789")},
	} {
		for authorization, want := range map[string]string{
			"Authorization: Bearer secret": "private, max-age=31536000, immutable",
			"X: anonymous":                 "public, max-age=31536000, immutable",
		} {
			got := do(t, server, request.method, address("0123456789"), "", request.header, authorization)
			if got.status != request.status || got.header.Get("Cache-Control") != want {
				t.Errorf("%+v, %s: %+v", request, authorization, got)
			}
		}
	}
}
