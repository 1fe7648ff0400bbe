// SPDX-License-Identifier: GPL-3.0-or-later

package httpapi_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"winery/internal/httpapi"
	"winery/internal/httpapi/objects"
	"winery/internal/httpapi/rpc"
	"winery/internal/httpapi/rpc/client"
	"winery/internal/httpapi/rpc/rpctest"
	"winery/internal/httpapi/rpc/wire"
)

// largeObjects is a store of small objects and of large ones, which are in
// memory once they are read. The key of a large object begins with 1.
type largeObjects struct{ rpctest.Store }

const largeSize = 4 << 20

func isLarge(key [32]byte) bool { return key[0] == 1 }

func (s *largeObjects) Get(ctx context.Context, key [32]byte, admit rpc.Admit) ([]byte, error) {
	if !isLarge(key) {
		return s.Store.Get(ctx, key, admit)
	}
	if err := admit(largeSize); err != nil {
		return nil, err
	}
	return make([]byte, largeSize), nil
}

func (s *largeObjects) GetBatch(_ context.Context, keys [][32]byte, admit rpc.Admit) ([]rpc.Found, error) {
	if err := admit(int64(len(keys)) * largeSize); err != nil {
		return nil, err
	}
	found := make([]rpc.Found, len(keys))
	for i := range found {
		found[i].Content = make([]byte, largeSize)
	}
	return found, nil
}

// TestAttacks: clients that send slowly, announce a body and do not send it, do
// not read their answers, send nonsense, or only connect, cannot take more memory
// than the limits allow, and do not block small requests of other clients.
func TestAttacks(t *testing.T) {
	const bodies, answers = 48 << 20, 48 << 20
	limits := httpapi.DefaultLimits()
	limits.Bodies = httpapi.NewMemory("bodies of requests", bodies, 10*time.Millisecond)
	limits.Answers = httpapi.NewMemory("answers", answers, 10*time.Millisecond)
	var store largeObjects
	small := [32]byte{2}
	store.Put(small, []byte("small"))
	mux := http.NewServeMux()
	mux.Handle("/objects/", objects.NewHandler(&store, objects.Options{MaxObjectSize: 100 << 20, Limits: limits, Log: discard}))
	mux.Handle("/", rpc.NewHandler(&store, rpc.Options{Limits: limits, Log: discard}))
	address := listen(t, mux)
	bystander, err := client.New("http://"+address, client.RetryFor(0))
	if err != nil {
		t.Fatal(err)
	}
	defer bystander.Close()

	head := func(method, path string, length int) string {
		return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-msgpack\r\nAccept: application/x-msgpack\r\nContent-Length: %d\r\n\r\n",
			method, path, length)
	}
	batch := encoded(wire.Request{ObjIDs: [][32]byte{{1, 1}, {1, 2}, {1, 3}, {1, 4}}})
	get := encoded(wire.Request{ObjID: wire.ID([32]byte{1})})
	nested := "\x81\xa1x" + strings.Repeat("\x91", 256<<10)
	large := fmt.Sprintf("/objects/%x", [32]byte{1})
	attacks := map[string]func() net.Conn{
		"announced":     func() net.Conn { return dial(t, address, head("POST", "/content/add/batch", 300<<20)) },
		"announced PUT": func() net.Conn { return dial(t, address, head("PUT", large, 90<<20)) },
		"sent in part":  func() net.Conn { return dial(t, address, head("PUT", large, 90<<20)+strings.Repeat("x", 3<<20)) },
		"unread batch":  func() net.Conn { return dial(t, address, head("POST", "/content/get/batch", len(batch))+batch) },
		"unread get":    func() net.Conn { return dial(t, address, head("POST", "/content/get", len(get))+get) },
		"unread object": func() net.Conn { return dial(t, address, head("GET", large, 0)) },
		"unread range": func() net.Conn {
			return dial(t, address, "GET "+large+" HTTP/1.1\r\nHost: x\r\nRange: bytes=0-4000000\r\n\r\n")
		},
		"nested msgpack": func() net.Conn { return dial(t, address, head("POST", "/content/add/batch", len(nested))+nested) },
		"nothing":        func() net.Conn { return dial(t, address, "") },
		"half a header":  func() net.Conn { return dial(t, address, "POST /content/get HTTP/1.1\r\nHost: x\r\n") },
		"unread body":    func() net.Conn { return dial(t, address, head("GET", "/", 1<<30)) },
	}
	before := heap()
	const clients = 30
	for name, attack := range attacks {
		for range clients {
			attack()
		}
		start := time.Now()
		there, err := bystander.Contains(t.Context(), small)
		if err != nil || !there {
			t.Errorf("%s: contains: %v, %v", name, there, err)
		}
		// Not Get of the client, which compares the hash.
		if got := roundTrip(t, address, encoded(wire.Request{ObjID: wire.ID(small)})); got != http.StatusOK {
			t.Errorf("%s: get of a small object: %d", name, got)
		}
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("%s: small requests took %v", name, took)
		}
		// Two budgets, small bodies, and 64 KiB for each connection of either side.
		limit := uint64(bodies + answers + clients*len(attacks)*(httpapi.Small+128<<10))
		if now := heap(); now > before+limit {
			t.Errorf("%s: %d MiB of memory, want at most %d", name, (now-before)>>20, limit>>20)
		} else {
			t.Logf("%s: %d MiB of memory", name, (now-before)>>20)
		}
	}
}

// TestShortErrors: however long the text is that a client sends, the error that quotes it is short.
func TestShortErrors(t *testing.T) {
	limits := httpapi.DefaultLimits()
	var store rpctest.Store
	content, one := []byte("content"), [32]byte{1}
	key := sha256.Sum256(content)
	store.Put(key, content)
	store.Put(one, content)
	mux := http.NewServeMux()
	objectsHandler := objects.NewHandler(&store, objects.Options{MaxObjectSize: 100 << 20, Limits: limits, Log: discard})
	mux.Handle("/objects", objectsHandler)
	mux.Handle("/objects/", objectsHandler)
	mux.Handle("/", rpc.NewHandler(&store, rpc.Options{Limits: limits, Log: discard}))
	address := listen(t, mux)
	long := strings.Repeat("%ff", 20<<10)
	raw := strings.Repeat("\xff", 60<<10)
	post := func(path, contentType, body string) string {
		return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", path, contentType, len(body), body)
	}
	name := strings.Repeat("\xff", 1<<20)
	sum := wire.ObjID{{Name: "sha256", Sum: key[:]}, {Name: "sha1", Sum: make([]byte, 30<<10)}}
	for what, request := range map[string]string{
		"argument":     post("/content/get/batch", "application/x-msgpack", "\x81\xdb\x00\x10\x00\x00"+name+"\xc1"),
		"hash":         post("/content/get/batch", "application/x-msgpack", "\x81\xa7obj_ids\x91\x81\xdb\x00\x10\x00\x00"+name+"\xc1"),
		"in JSON":      post("/content/get/batch", "application/json", `{"`+strings.Repeat("x", 1<<20)+`": ]`),
		"sum":          post("/content/check", "application/x-msgpack", encoded(wire.Request{ObjID: sum})),
		"content type": post("/content/get", raw, "x"),
		"endpoint":     post("/"+long, "", ""),
		"id":           "GET /objects/" + long + " HTTP/1.1\r\nHost: x\r\n\r\n",
		"address":      "GET /objects/x/" + long + " HTTP/1.1\r\nHost: x\r\n\r\n",
		"method":       strings.Repeat("X", 60<<10) + " /objects HTTP/1.1\r\nHost: x\r\n\r\n",
		"query":        "GET /objects?x=%zz" + raw + " HTTP/1.1\r\nHost: x\r\n\r\n",
		"parameter":    "GET /objects?" + long + " HTTP/1.1\r\nHost: x\r\n\r\n",
		"limit":        "GET /objects?limit=" + long + " HTTP/1.1\r\nHost: x\r\n\r\n",
		"range":        fmt.Sprintf("GET /objects/%x HTTP/1.1\r\nHost: x\r\nRange: bytes=9999999-%s\r\n\r\n", one, strings.Repeat("9", 60<<10)),
	} {
		answer, err := http.ReadResponse(bufio.NewReader(dial(t, address, request)), nil)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		n, err := io.Copy(io.Discard, answer.Body)
		if err != nil || answer.StatusCode < 400 || answer.StatusCode > 499 || n > 4096 {
			t.Errorf("%s: status %d with %d bytes, %v", what, answer.StatusCode, n, err)
		}
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func encoded(r wire.Request) string {
	var text bytes.Buffer
	_, _ = r.Encode(wire.MsgPack).WriteTo(&text)
	return text.String()
}

// roundTrip sends a body to /content/get and returns the status.
func roundTrip(t *testing.T, address, body string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address+"/content/get", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-msgpack")
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := c.Do(request)
	if err != nil {
		t.Error(err)
		return 0
	}
	_, _ = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	return response.StatusCode
}
