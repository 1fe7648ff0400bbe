// SPDX-License-Identifier: GPL-3.0-or-later

package rpc_test

import (
	"log/slog"
	"net/http"
	"testing"

	"winery/internal/httpapi/rpc"
	"winery/internal/httpapi/rpc/rpctest"
	"winery/internal/httpapi/rpc/wire"
	"winery/test/corrupt"
	"winery/test/logtest"
)

// TestMutatedRequests sends what remains of valid requests after their bodies were damaged. Each gets an answer that a
// client can decode, with a status below 500; nothing is stored under another object's name; and the server continues to
// work.
func TestMutatedRequests(t *testing.T) {
	random := corrupt.Random(t)
	var store rpctest.Store
	var log logtest.Log
	server := serve(t, &store, rpc.Options{AllowDelete: true, Log: log.Logger(slog.LevelWarn)})
	large := string(make([]byte, 9000))
	valid := map[string]wire.Request{
		"/check_config":      {CheckWrite: true},
		"/content/contains":  {ObjID: id("there")},
		"/content/add":       {ObjID: id("new"), Content: []byte("new"), CheckPresence: true},
		"/content/add/batch": {Contents: []rpc.Object{object("there"), object("another"), object(large), object("")}},
		"/content/get":       {ObjID: id("there")},
		"/content/get/batch": {ObjIDs: [][32]byte{key("there"), key("none"), key("too")}},
		"/content/check":     {ObjID: id("there")},
		"/content/delete":    {ObjID: id("there")},
	}
	// An empty store would forgive what a full one does not.
	fill := func() {
		store.Put(key("there"), []byte("there"))
		store.Put(key("too"), []byte("too"))
	}
	statuses := map[int]int{}
	for path, request := range valid {
		for contentType, format := range map[string]wire.Format{asJSON: wire.JSON, asMsgPack: wire.MsgPack} {
			body := []byte(text(request.Encode(format)))
			for range 150 {
				fill()
				mutated, what := corrupt.Mutate(random, body)
				got := do(t, server, http.MethodPost, path, contentType, string(mutated))
				t.Logf("%s in %s with %s", path, contentType, what)
				understood(t, got.status, wire.JSON, []byte(got.text))
				rightlyNamed(t, &store)
				statuses[got.status]++
			}
			fill()
			if got := do(t, server, http.MethodPost, path, contentType, string(body)); got.status != http.StatusOK {
				t.Fatalf("%s, undamaged: %+v", path, got)
			}
		}
	}
	if log.String() != "" {
		t.Errorf("the log has %s", log.String())
	}
	if statuses[http.StatusOK] == 0 || statuses[http.StatusBadRequest] == 0 {
		t.Errorf("statuses: %v", statuses)
	}
}
