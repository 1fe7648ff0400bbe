// SPDX-License-Identifier: GPL-3.0-or-later

package rpc_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"winery/internal/httpapi/rpc"
	"winery/internal/httpapi/rpc/rpctest"
	"winery/internal/httpapi/rpc/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// quiet drops the log.
var quiet = slog.New(slog.DiscardHandler)

func serve(t testing.TB, store rpc.Store, o rpc.Options) *httptest.Server {
	t.Helper()
	if o.Log == nil {
		o.Log = quiet
	}
	server := httptest.NewServer(rpc.NewHandler(store, o))
	t.Cleanup(func() {
		server.Client().CloseIdleConnections()
		server.Close()
	})
	return server
}

// reply is an answer in JSON.
type reply struct {
	status int
	header http.Header
	text   string
}

func (r reply) error(t *testing.T) (e struct {
	Type, Module, Message string
	Args                  []any
	Traceback             []string
}) {
	t.Helper()
	if err := json.Unmarshal([]byte(r.text), &e); err != nil {
		t.Fatalf("%q is no error: %v", r.text, err)
	}
	return e
}

func do(t testing.TB, server *httptest.Server, method, path, contentType, body string) reply {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	response, err := server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{response.StatusCode, response.Header, string(text)}
}

const (
	asJSON    = "application/json"
	asMsgPack = "application/x-msgpack"
)

// post sends a request in JSON.
func post(t testing.TB, server *httptest.Server, path string, request wire.Request) reply {
	t.Helper()
	return do(t, server, http.MethodPost, path, asJSON, text(request.Encode(wire.JSON)))
}

func text(body *wire.Body) string {
	var out bytes.Buffer
	_, _ = body.WriteTo(&out)
	return out.String()
}

func key(content string) [32]byte      { return sha256.Sum256([]byte(content)) }
func id(content string) wire.ObjID     { return wire.ID(key(content)) }
func object(content string) rpc.Object { return rpc.Object{ID: key(content), Content: []byte(content)} }

var _ rpc.Store = (*rpctest.Store)(nil)
