// SPDX-License-Identifier: GPL-3.0-or-later

package rpc_test

import (
	"crypto/sha256"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"winery/internal/httpapi/rpc"
	"winery/internal/httpapi/rpc/rpctest"
	"winery/internal/httpapi/rpc/wire"
)

var paths = []string{
	"/check_config", "/content/contains", "/content/add", "/content/add/batch", "/content/get",
	"/content/get/batch", "/content/download_url", "/content/check", "/content/delete", "/", "/content",
}

// FuzzHandler sends anything to any endpoint. Every answer is one that a client understands, none is the server's fault,
// and nothing is ever stored under a wrong name.
func FuzzHandler(f *testing.F) {
	for path := range paths {
		for _, request := range []wire.Request{
			{CheckWrite: true}, {ObjID: id("there")}, {ObjID: id("new"), Content: []byte("new")},
			{Contents: []rpc.Object{object("new"), object("")}}, {ObjIDs: [][32]byte{key("there"), key("none")}},
		} {
			f.Add(uint8(path), true, []byte(text(request.Encode(wire.MsgPack))))
			f.Add(uint8(path), false, []byte(text(request.Encode(wire.JSON))))
		}
	}
	f.Fuzz(func(t *testing.T, path uint8, packed bool, body []byte) {
		var store rpctest.Store
		store.Put(key("there"), []byte("there"))
		handler := rpc.NewHandler(&store, rpc.Options{Log: quiet, AllowDelete: true})
		request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, paths[int(path)%len(paths)], strings.NewReader(string(body)))
		format := wire.JSON
		if packed {
			format = wire.MsgPack
		}
		request.Header.Set("Content-Type", format.ContentType())
		request.Header.Set("Accept", format.ContentType())
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, request)
		understood(t, recorder.Code, format, recorder.Body.Bytes())
		rightlyNamed(t, &store)
	})
}

// understood fails the test unless a client can make sense of an answer that is not the server's fault.
func understood(t *testing.T, status int, format wire.Format, body []byte) {
	t.Helper()
	if status == http.StatusOK {
		if _, err := wire.Decode(format, body, wire.ReadNull); err != nil {
			t.Fatalf("%q is no answer: %v", body, err)
		}
		return
	}
	e, err := wire.Decode(format, body, wire.ReadError)
	if err != nil || e.Type == "" || e.Message == "" || status < 400 || status >= 500 {
		t.Fatalf("status %d, %q: %v", status, body, err)
	}
}

// rightlyNamed fails the test if the store has an object under a name that is not its SHA-256.
func rightlyNamed(t *testing.T, store *rpctest.Store) {
	t.Helper()
	ids, err := store.List(t.Context(), [32]byte{}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		if content, err := store.Get(t.Context(), id, func(int64) error { return nil }); err != nil || sha256.Sum256(content) != id {
			t.Fatalf("%q is stored as %x, %v", content, id, err)
		}
	}
}
