// SPDX-License-Identifier: GPL-3.0-or-later

package rpc_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"net/http"
	"runtime"
	"testing"

	"winery/internal/httpapi/rpc"
	"winery/internal/httpapi/rpc/rpctest"
	"winery/internal/httpapi/rpc/wire"
)

// oneObject is a store that gives one object, and forgets what it is given.
type oneObject struct {
	rpctest.Store
	content []byte
}

func (s *oneObject) Get(context.Context, [32]byte, rpc.Admit) ([]byte, error) { return s.content, nil }

func (s *oneObject) Add(_ context.Context, objects []rpc.Object) (int, int64, error) {
	return len(objects), int64(len(objects[0].Content)), nil
}

// TestLargeObjectMemory holds that an object of 100 MiB is in memory once when it comes (in a buffer that grows), and not
// again when it goes.
func TestLargeObjectMemory(t *testing.T) {
	const size = 100 << 20
	store := &oneObject{content: bytes.Repeat([]byte("0123456789abcdef"), size/16)}
	server := serve(t, store, rpc.Options{})
	key := sha256.Sum256(store.content)
	for _, c := range []struct {
		path    string
		request wire.Request
		limit   uint64
	}{
		{"/content/add", wire.Request{ObjID: wire.ID(key), Content: store.content}, 5*size/2 + 1<<20},
		{"/content/add/batch", wire.Request{Contents: []rpc.Object{{ID: key, Content: store.content}}}, 5*size/2 + 1<<20},
		{"/content/get", wire.Request{ObjID: wire.ID(key)}, 1 << 20},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		body := c.request.Encode(wire.MsgPack)
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+c.path, body.Reader())
		if err != nil {
			t.Fatal(err)
		}
		request.ContentLength = body.Len()
		request.Header = http.Header{"Content-Type": {asMsgPack}, "Accept": {asMsgPack}}
		response, err := server.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
		runtime.ReadMemStats(&after)
		if err != nil || response.StatusCode != http.StatusOK {
			t.Errorf("%s: %s, %v", c.path, response.Status, err)
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > c.limit {
			t.Errorf("%s of %d bytes took %d bytes of memory, expected at most %d", c.path, size, got, c.limit)
		}
	}
}

// BenchmarkAdd sends objects of 3 kB with all four hashes, as Python's client does, past the network.
func BenchmarkAdd(b *testing.B) {
	content := bytes.Repeat([]byte("go "), 1000)
	hash := make([]byte, 32)
	id := append(wire.ID(sha256.Sum256(content)), wire.Hash{Name: "sha1", Sum: hash[:20]},
		wire.Hash{Name: "sha1_git", Sum: hash[:20]}, wire.Hash{Name: "blake2s256", Sum: hash})
	body := []byte(text(wire.Request{ObjID: id, Content: content}.Encode(wire.MsgPack)))
	handler := rpc.NewHandler(&oneObject{}, rpc.Options{Log: quiet})
	b.ReportAllocs()
	for b.Loop() {
		request, _ := http.NewRequestWithContext(b.Context(), http.MethodPost, "/content/add", bytes.NewReader(body))
		request.Header = http.Header{"Content-Type": {asMsgPack}, "Accept": {asMsgPack}}
		w := discard{http.Header{}}
		handler.ServeHTTP(w, request)
	}
}

type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(status int) {
	if status != http.StatusOK {
		panic(status)
	}
}
