// SPDX-License-Identifier: GPL-3.0-or-later

package rpc_test

import (
	"crypto/sha1"
	"net/http"
	"strings"
	"testing"

	"winery/internal/httpapi"
	"winery/internal/httpapi/rpc"
	"winery/internal/httpapi/rpc/rpctest"
	"winery/internal/httpapi/rpc/wire"
)

// TestJSON uses every endpoint as a plain HTTP client would, which says nothing of what it accepts.
func TestJSON(t *testing.T) {
	var store rpctest.Store
	server := serve(t, &store, rpc.Options{Name: "cellar", AllowDelete: true})
	for _, step := range []struct {
		path    string
		request wire.Request
		want    string
	}{
		{"/check_config", wire.Request{CheckWrite: true}, "true"},
		{"/content/contains", wire.Request{ObjID: id("one")}, "false"},
		{"/content/add", wire.Request{ObjID: id("one"), Content: []byte("one")}, "null"},
		{"/content/contains", wire.Request{ObjID: id("one")}, "true"},
		{"/content/get", wire.Request{ObjID: id("one")}, `{"swhtype":"bytes","d":"Z*FA"}`},
		{"/content/add/batch", wire.Request{Contents: []rpc.Object{object("one"), object("two"), object("")}}, `{"object:add":2,"object:add:bytes":3}`},
		{"/content/get/batch", wire.Request{ObjIDs: [][32]byte{key("two"), key("none"), key("")}}, `[{"swhtype":"bytes","d":"ba!t"},null,{"swhtype":"bytes","d":""}]`},
		{"/content/check", wire.Request{ObjID: id("two")}, "null"},
		{"/content/download_url", wire.Request{ObjID: id("two")}, "null"},
		{"/content/delete", wire.Request{ObjID: id("two")}, "true"},
	} {
		got := post(t, server, step.path, step.request)
		if got.status != http.StatusOK || got.text != step.want || got.header.Get("Content-Type") != asJSON {
			t.Errorf("%s: %+v, expected %s", step.path, got, step.want)
		}
	}
	got := do(t, server, http.MethodGet, "/", "", "")
	if got.status != http.StatusOK || got.text != "SWH Objstorage API server: winery cellar\n" || !strings.HasPrefix(got.header.Get("Content-Type"), "text/plain") {
		t.Errorf("/: %+v", got)
	}
}

func TestErrors(t *testing.T) {
	var store, away, broken rpctest.Store
	away.Fail(httpapi.ErrUnavailable)
	broken.Fail(http.ErrBodyNotAllowed)
	store.Put(key("right"), []byte("wrong"))
	store.Put(key("ok"), []byte("ok"))
	all := serve(t, &store, rpc.Options{AllowDelete: true, MaxObjectSize: 1000, MaxBatchBytes: 100_000})
	readOnly := serve(t, &store, rpc.Options{ReadOnly: true, AllowDelete: true})
	noDelete := serve(t, &store, rpc.Options{})
	sum := sha1.Sum([]byte("right"))
	for name, c := range map[string]struct {
		got          reply
		status       int
		kind, module string
		says         string
	}{
		"not found":     {post(t, all, "/content/get", wire.Request{ObjID: id("none")}), 400, "ObjNotFoundError", "swh.objstorage.exc", "Object not found"},
		"not deleted":   {post(t, all, "/content/delete", wire.Request{ObjID: id("none")}), 400, "ObjNotFoundError", "swh.objstorage.exc", "Object not found"},
		"corrupted":     {post(t, all, "/content/check", wire.Request{ObjID: id("right")}), 400, "ObjCorruptedError", "swh.objstorage.exc", "corrupted"},
		"verify":        {post(t, all, "/content/add", wire.Request{ObjID: id("a"), Content: []byte("b")}), 400, "Error", "swh.objstorage.exc", "has sha256 3e23e8160039594a33894f6564e1b134"},
		"no sha256":     {post(t, all, "/content/get", wire.Request{ObjID: wire.ObjID{{Name: "sha1", Sum: sum[:]}}}), 400, "KeyError", "builtins", "sha256"},
		"short id":      {post(t, all, "/content/get", wire.Request{ObjID: wire.ObjID{{Name: "sha256", Sum: sum[:]}}}), 400, "Error", "swh.objstorage.exc", "20 bytes: a SHA-256 has 32"},
		"no obj_id":     {post(t, all, "/content/get", wire.Request{}), 400, "Error", "swh.objstorage.exc", "lacks the argument obj_id"},
		"no obj_ids":    {post(t, all, "/content/get/batch", wire.Request{}), 400, "Error", "swh.objstorage.exc", "obj_ids"},
		"no content":    {post(t, all, "/content/add", wire.Request{ObjID: id("x")}), 400, "Error", "swh.objstorage.exc", "argument content"},
		"no contents":   {post(t, all, "/content/add/batch", wire.Request{}), 400, "Error", "swh.objstorage.exc", "contents"},
		"no body":       {do(t, all, "POST", "/content/get", "", ""), 400, "Error", "swh.objstorage.exc", "obj_id"},
		"bad body":      {do(t, all, "POST", "/content/get", asMsgPack, "nonsense"), 400, "Error", "swh.objstorage.exc", "a map"},
		"other body":    {do(t, all, "POST", "/content/get", asMsgPack, "{}"), 400, "Error", "swh.objstorage.exc", "a map"},
		"unknown hash":  {post(t, all, "/content/check", wire.Request{ObjID: append(id("ok"), wire.Hash{Name: "md5", Sum: sum[:]})}), 400, "Error", "swh.objstorage.exc", "obj_id.md5"},
		"content type":  {do(t, all, "POST", "/content/get", "text/xml", "<x/>"), 415, "Error", "swh.objstorage.exc", "text/xml"},
		"endpoint":      {do(t, all, "POST", "/content/gets", asJSON, "{}"), 404, "Error", "swh.objstorage.exc", "/content/get,"},
		"method":        {do(t, all, "PUT", "/content/get", asJSON, "{}"), 405, "Error", "swh.objstorage.exc", "POST, not PUT"},
		"object size":   {post(t, all, "/content/add", wire.Request{ObjID: id("x"), Content: make([]byte, 1001)}), 413, "Error", "swh.objstorage.exc", "max_object_size"},
		"body size":     {post(t, all, "/content/add", wire.Request{ObjID: id("x"), Content: make([]byte, 100_000)}), 413, "Error", "swh.objstorage.exc", "max_object_size"},
		"batch size":    {do(t, all, "POST", "/content/add/batch", asMsgPack, strings.Repeat("x", 100_001)), 413, "Error", "swh.objstorage.exc", "at most 100000"},
		"read-only":     {post(t, readOnly, "/content/add", wire.Request{ObjID: id("a"), Content: []byte("a")}), 400, "ReadOnlyObjStorageError", "swh.objstorage.exc", "add"},
		"read-only too": {post(t, readOnly, "/content/delete", wire.Request{ObjID: id("a")}), 400, "ReadOnlyObjStorageError", "swh.objstorage.exc", "delete"},
		"no deleting":   {post(t, noDelete, "/content/delete", wire.Request{ObjID: id("a")}), 403, "PermissionError", "builtins", "allow_delete"},
		"away":          {post(t, serve(t, &away, rpc.Options{}), "/content/get", wire.Request{ObjID: id("a")}), 503, "ObjStorageAPIError", "swh.objstorage.exc", "unavailable; try again; request id"},
		"no access":     {post(t, serve(t, &away, rpc.Options{Access: noAccess{}}), "/content/get", wire.Request{ObjID: id("a")}), 401, "PermissionError", "builtins", "needs a token"},
		// Python's multiplexer takes a PermissionError for a no, and says nothing.
		"no access too": {post(t, serve(t, &away, rpc.Options{Access: noAccess{}}), "/check_config", wire.Request{}), 401, "Error", "swh.objstorage.exc", "needs a token"},
		"broken":        {post(t, serve(t, &broken, rpc.Options{}), "/content/get", wire.Request{ObjID: id("a")}), 500, "ObjStorageAPIError", "swh.objstorage.exc", "internal error; request id"},
	} {
		e := c.got.error(t)
		if c.got.status != c.status || e.Type != c.kind || e.Module != c.module || len(e.Args) != 1 || !strings.Contains(e.Message, c.says) || e.Traceback == nil {
			t.Errorf("%s: got %d %+v, expected %d %s with %q", name, c.got.status, e, c.status, c.kind, c.says)
		}
		if retry := c.got.header.Get("Retry-After"); (retry != "") != (c.status == 503) {
			t.Errorf("%s: Retry-After is %q", name, retry)
		}
		if c.got.header.Get("X-Request-Id") == "" {
			t.Errorf("%s: no X-Request-Id", name)
		}
	}
	if store.Len() != 2 {
		t.Errorf("a refused object was stored")
	}
}

func TestNegotiation(t *testing.T) {
	server := serve(t, new(rpctest.Store), rpc.Options{})
	// What the server in Python chooses for each.
	for accept, want := range map[string]string{
		"": asJSON, "*/*": asJSON, "application/*": asJSON, "text/html": asJSON, ";;,": asJSON,
		"application/json": asJSON, "application/x-msgpack;q=0": asJSON,
		"application/json, application/x-msgpack":       asJSON,
		"application/x-msgpack;q=0.5, application/json": asJSON,
		"application/x-msgpack;q=0.1, */*;q=0.5":        asJSON,
		"application/x-msgpack":                         asMsgPack,
		"Application/X-MsgPack":                         asMsgPack,
		"application/x-msgpack, */*":                    asMsgPack,
		"application/x-msgpack;q=0.5, */*;q=0.1":        asMsgPack,
		"application/x-msgpack, application/json;q=0.5": asMsgPack,
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/content/download_url", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Accept", accept)
		response, err := server.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if got := response.Header.Get("Content-Type"); got != want {
			t.Errorf("Accept: %s: got %s, expected %s", accept, got, want)
		}
	}
}

// noAccess refuses every client.
type noAccess struct{}

func (noAccess) Admit(http.ResponseWriter, *http.Request, httpapi.Right) (string, error) {
	return "", httpapi.Refuse(http.StatusUnauthorized, "this request needs a token")
}
