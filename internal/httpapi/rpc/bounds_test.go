// SPDX-License-Identifier: GPL-3.0-or-later

package rpc_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"winery/internal/httpapi"
	"winery/internal/httpapi/rpc"
	"winery/internal/httpapi/rpc/rpctest"
	"winery/internal/httpapi/rpc/wire"
	"winery/test/logtest"
)

// limits are the default ones with little memory.
func limits(bodies, answers int64) *httpapi.Limits {
	l := httpapi.DefaultLimits()
	l.Bodies = httpapi.NewMemory("bodies of requests", bodies, 20*time.Millisecond)
	l.Answers = httpapi.NewMemory("answers", answers, 20*time.Millisecond)
	return l
}

// TestMemoryForBodies fills the memory for bodies with one request that is being worked on.
func TestMemoryForBodies(t *testing.T) {
	var store rpctest.Store
	working, finish := make(chan struct{}), make(chan struct{})
	store.Before(func(ctx context.Context) error {
		working <- struct{}{}
		<-finish
		return nil
	})
	server := serve(t, &store, rpc.Options{MaxObjectSize: 20 << 20, MaxBatchBytes: 21 << 20, Limits: limits(21<<20, 1<<20)})
	var wg sync.WaitGroup
	wg.Go(func() {
		content := bytes.Repeat([]byte("x"), 20<<20)
		body := text(wire.Request{Contents: []rpc.Object{{ID: sha256.Sum256(content), Content: content}}}.Encode(wire.MsgPack))
		if got := do(t, server, "POST", "/content/add/batch", asMsgPack, body); got.status != http.StatusOK {
			t.Errorf("the large request: %+v", got)
		}
	})
	<-working
	zeros := make([]byte, 2<<20)
	large := text(wire.Request{Contents: []rpc.Object{{ID: sha256.Sum256(zeros), Content: zeros}}}.Encode(wire.MsgPack))
	got := do(t, server, "POST", "/content/add/batch", asMsgPack, large)
	if e := got.error(t); got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" || !strings.Contains(e.Message, "memory") {
		t.Errorf("%+v", got)
	}
	store.Before(nil)
	if got := post(t, server, "/content/contains", wire.Request{ObjID: id("x")}); got.status != http.StatusOK {
		t.Errorf("a small request meanwhile: %+v", got)
	}
	close(finish)
	wg.Wait()
	if got := do(t, server, "POST", "/content/add/batch", asMsgPack, large); got.status != http.StatusOK {
		t.Errorf("after the memory is free again: %+v", got)
	}
}

// TestMemoryForAnswers holds that contents are charged until they are written.
func TestMemoryForAnswers(t *testing.T) {
	var store rpctest.Store
	store.Put(key("large"), make([]byte, 2<<20))
	store.Put(key("small"), []byte("small"))
	l := limits(1<<20, 5<<20)
	server := serve(t, &store, rpc.Options{Limits: l})
	two := wire.Request{ObjIDs: [][32]byte{key("large"), key("large")}}
	ask := func(format string) reply {
		return do(t, server, "POST", "/content/get/batch", format, text(two.Encode(map[string]wire.Format{asJSON: wire.JSON, asMsgPack: wire.MsgPack}[format])))
	}
	for range 3 { // memory is released after the answer
		if got := ask(asMsgPack); got.status != http.StatusOK {
			t.Fatalf("%d %.100s", got.status, got.text)
		}
	}
	held := l.Answers.NewCharge()
	if err := held.Reach(t.Context(), 3<<20); err != nil {
		t.Fatal(err)
	}
	got := ask(asMsgPack)
	if e := got.error(t); got.status != http.StatusServiceUnavailable || !strings.Contains(e.Message, "memory for answers") {
		t.Errorf("%d %.100s", got.status, got.text)
	}
	if got := post(t, server, "/content/get", wire.Request{ObjID: id("small")}); got.status != http.StatusOK {
		t.Errorf("a small object meanwhile: %+v", got)
	}
	held.Release()
	if got := ask(asMsgPack); got.status != http.StatusOK {
		t.Errorf("after the memory is free again: %d %.100s", got.status, got.text)
	}
}

// TestGetBatchTooLarge refuses a batch by the sizes of its objects, before any is read.
func TestGetBatchTooLarge(t *testing.T) {
	var store rpctest.Store
	store.Put(key("x"), make([]byte, 10_000))
	server := serve(t, &store, rpc.Options{MaxObjectSize: 10_000, MaxBatchBytes: 100_000})
	ids := make([][32]byte, 11)
	for i := range ids {
		ids[i] = key("x")
	}
	if got := post(t, server, "/content/get/batch", wire.Request{ObjIDs: ids[:10]}); got.status != http.StatusOK {
		t.Errorf("%+v", got)
	}
	got := post(t, server, "/content/get/batch", wire.Request{ObjIDs: ids})
	if got.status != http.StatusRequestEntityTooLarge || !strings.Contains(got.error(t).Message, "fewer") {
		t.Errorf("%+v", got)
	}
}

// askFor sends a request in one format, and asks for an answer in it.
func askFor(t *testing.T, server *httptest.Server, path string, format wire.Format, request wire.Request) (status int, body string) {
	t.Helper()
	encoded := request.Encode(format)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+path, encoded.Reader())
	if err != nil {
		t.Fatal(err)
	}
	r.ContentLength = encoded.Len()
	r.Header = http.Header{"Content-Type": {format.ContentType()}, "Accept": {format.ContentType()}}
	response, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	all, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(all)
}

// TestBatchBeyondMemory refuses batches that take more than all memory for bodies, or for answers: they would be in
// memory nevertheless.
func TestBatchBeyondMemory(t *testing.T) {
	const mib = 1 << 20
	many, ids := make([]rpc.Object, 10), make([][32]byte, 10)
	for i := range many {
		content := bytes.Repeat([]byte{byte(i)}, mib)
		ids[i] = sha256.Sum256(content)
		many[i] = rpc.Object{ID: ids[i], Content: content}
	}
	for what, c := range map[string]struct {
		bodies, answers, object int64 // limits in bytes
		path                    string
		format                  wire.Format
		maxObjects              int
	}{
		// While a body grows there are two buffers.
		"add msgpack": {8*mib + mib, mib, mib, "/content/add/batch", wire.MsgPack, 4},
		// In JSON an object is a quarter larger, and is charged four times.
		"add JSON":    {16 * mib, mib, mib, "/content/add/batch", wire.JSON, 3},
		"get msgpack": {mib, 8 * mib, mib, "/content/get/batch", wire.MsgPack, 8},
		"get JSON":    {mib, 9 * mib, mib, "/content/get/batch", wire.JSON, 4},
		// What one object may have is always possible.
		"add as much as one object":          {mib, mib, 3 * mib, "/content/add/batch", wire.MsgPack, 3},
		"add as much as one object, in JSON": {mib, mib, 3 * mib, "/content/add/batch", wire.JSON, 3},
		"get as much as one object":          {mib, mib, 3 * mib, "/content/get/batch", wire.MsgPack, 3},
		"get as much as one object, in JSON": {mib, mib, 3 * mib, "/content/get/batch", wire.JSON, 3},
	} {
		t.Run(what, func(t *testing.T) {
			var store rpctest.Store
			for _, o := range many {
				store.Put(o.ID, o.Content)
			}
			server := serve(t, &store, rpc.Options{MaxObjectSize: c.object, MaxBatchBytes: 64 * mib, Limits: limits(c.bodies, c.answers)})
			for _, n := range []int{c.maxObjects, c.maxObjects + 1} {
				request := wire.Request{Contents: many[:n]}
				if strings.Contains(c.path, "get") {
					request = wire.Request{ObjIDs: ids[:n]}
				}
				status, text := askFor(t, server, c.path, c.format, request)
				if n == c.maxObjects && status != http.StatusOK {
					t.Errorf("%d objects: status %d %.200s", n, status, text)
				}
				if n > c.maxObjects && (status != http.StatusRequestEntityTooLarge || !strings.Contains(text, "fewer")) {
					t.Errorf("%d objects: status %d %.200s, want 413 and the cure", n, status, text)
				}
			}
		})
	}
}

// TestObjectBeyondMemory: an object of the largest size is taken and given, however little memory there is.
func TestObjectBeyondMemory(t *testing.T) {
	content := bytes.Repeat([]byte("x"), 3<<20)
	o := rpc.Object{ID: sha256.Sum256(content), Content: content}
	for _, format := range []wire.Format{wire.MsgPack, wire.JSON} {
		var store rpctest.Store
		l := httpapi.DefaultLimits() // a request may find the memory of the one before still charged
		l.Bodies, l.Answers = httpapi.NewMemory("bodies", 1<<20, time.Minute), httpapi.NewMemory("answers", 1<<20, time.Minute)
		server := serve(t, &store, rpc.Options{MaxObjectSize: int64(len(content)), Limits: l})
		for _, c := range []struct {
			path    string
			request wire.Request
		}{
			{"/content/add", wire.Request{ObjID: wire.ID(o.ID), Content: content}},
			{"/content/add/batch", wire.Request{Contents: []rpc.Object{o}}},
			{"/content/get", wire.Request{ObjID: wire.ID(o.ID)}},
			{"/content/get/batch", wire.Request{ObjIDs: [][32]byte{o.ID}}},
		} {
			if status, text := askFor(t, server, c.path, format, c.request); status != http.StatusOK {
				t.Errorf("%s in %s: status %d %.200s", c.path, format.ContentType(), status, text)
			}
		}
	}
}

// damagedInBatch is a store in which the objects are damaged that are given.
type damagedInBatch struct {
	rpctest.Store
	damaged [][32]byte
}

func (s *damagedInBatch) GetBatch(ctx context.Context, keys [][32]byte, admit rpc.Admit) ([]rpc.Found, error) {
	found, err := s.Store.GetBatch(ctx, keys, admit)
	for i, key := range keys {
		if slices.Contains(s.damaged, key) {
			found[i] = rpc.Found{Err: fmt.Errorf("%w: object %x in shard S", httpapi.ErrCorrupted, key)}
		}
	}
	return found, err
}

// TestGetBatchDamaged holds that a damaged object is null in a batch, and in the log.
func TestGetBatchDamaged(t *testing.T) {
	var log logtest.Log
	store := damagedInBatch{damaged: [][32]byte{key("damaged"), key("also")}}
	store.Put(key("sound"), []byte("sound"))
	server := serve(t, &store, rpc.Options{Log: log.Logger(slog.LevelInfo)})
	got := post(t, server, "/content/get/batch", wire.Request{ObjIDs: [][32]byte{key("damaged"), key("sound"), key("none"), key("also")}})
	if got.status != http.StatusOK || strings.Count(got.text, "null") != 3 || strings.Count(got.text, "swhtype") != 1 {
		t.Errorf("%+v", got)
	}
	for _, says := range []string{"level=ERROR", "objects=2", "id=" + got.header.Get(httpapi.RequestID), fmt.Sprintf("%x", key("also"))} {
		if !strings.Contains(log.String(), says) {
			t.Errorf("%q is not in the log: %s", says, log.String())
		}
	}
}

// dial opens a connection to the server for requests that no client library would send.
func dial(t *testing.T, url string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	return conn
}

func answer(t *testing.T, conn net.Conn) *http.Response {
	t.Helper()
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	return response
}

func TestRawRequests(t *testing.T) {
	server := serve(t, new(rpctest.Store), rpc.Options{})
	const head = "POST /content/add HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-msgpack\r\n"
	for name, c := range map[string]struct {
		send   string
		status int
	}{
		"chunked":                  {head + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", http.StatusLengthRequired},
		"too large, asks first":    {head + "Content-Length: 99999999999\r\nExpect: 100-continue\r\n\r\n", http.StatusRequestEntityTooLarge},
		"largest length there is":  {head + "Content-Length: 9223372036854775807\r\nExpect: 100-continue\r\n\r\n", http.StatusRequestEntityTooLarge},
		"too large, sent entirely": {head + "Content-Length: 210000000\r\n\r\n" + strings.Repeat("x", 210_000_000), http.StatusRequestEntityTooLarge},
	} {
		conn := dial(t, server.URL)
		for piece := range slices.Chunk([]byte(c.send), 1<<20) {
			_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
			if _, err := conn.Write(piece); err != nil {
				t.Errorf("%s: %v", name, err)
				break
			}
		}
		if got := answer(t, conn); got.StatusCode != c.status {
			t.Errorf("%s: got %s, expected %d", name, got.Status, c.status)
		}
	}
	// A body that ends too early.
	conn := dial(t, server.URL)
	if _, err := fmt.Fprint(conn, head+"Content-Length: 1000\r\n\r\nabc"); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got := answer(t, conn); got.StatusCode != http.StatusRequestTimeout && got.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a body that ends: %s", got.Status)
	}
}

// TestPanic holds that a panic is answered and logged, and ends nothing else.
func TestPanic(t *testing.T) {
	var store rpctest.Store
	var log logtest.Log
	server := serve(t, &store, rpc.Options{Log: log.Logger(slog.LevelInfo)})
	store.Before(func(context.Context) error { panic("a secret") })
	got := post(t, server, "/content/contains", wire.Request{ObjID: id("x")})
	if e := got.error(t); got.status != http.StatusInternalServerError || strings.Contains(got.text, "secret") || e.Type != "ObjStorageAPIError" {
		t.Errorf("%+v", got)
	}
	store.Before(nil)
	if got := post(t, server, "/content/contains", wire.Request{ObjID: id("x")}); got.text != "false" {
		t.Errorf("after a panic: %+v", got)
	}
	for _, says := range []string{"level=ERROR", "id=" + got.header.Get("X-Request-Id"), "status=500", "a secret", "/content/contains"} {
		if !strings.Contains(log.String(), says) {
			t.Errorf("%q is not in the log: %s", says, log.String())
		}
	}
	if n := strings.Count(log.String(), "level="); n != 1 {
		t.Errorf("%d lines in the log at level info and above: %s", n, log.String())
	}
}

// TestAccessLog holds that each request has a line at level debug.
func TestAccessLog(t *testing.T) {
	var log logtest.Log
	handler := rpc.NewHandler(new(rpctest.Store), rpc.Options{Log: log.Logger(slog.LevelDebug)})
	request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/content/get", strings.NewReader(text(wire.Request{ObjID: id("x")}.Encode(wire.JSON))))
	request.Header.Set("Content-Type", asJSON)
	handler.ServeHTTP(httptest.NewRecorder(), request)
	for _, says := range []string{"level=DEBUG", "method=POST", "path=/content/get", "status=400", "id=", "err=\"Object not found"} {
		if !strings.Contains(log.String(), says) {
			t.Errorf("%q is not in the log: %s", says, log.String())
		}
	}
}

// TestClientGone: the context of a request ends some time after its client has disconnected.
func TestClientGone(t *testing.T) {
	var store rpctest.Store
	l := httpapi.DefaultLimits()
	l.HalfClosed = time.Millisecond
	var log logtest.Log
	server := serve(t, &store, rpc.Options{Limits: l, Log: log.Logger(slog.LevelInfo)})
	heard := make(chan error, 1)
	working := make(chan struct{})
	store.Before(func(ctx context.Context) error {
		close(working)
		<-ctx.Done()
		heard <- ctx.Err()
		return ctx.Err()
	})
	conn := dial(t, server.URL)
	if _, err := fmt.Fprint(conn, raw("/content/contains", wire.Request{ObjID: id("x")})); err != nil {
		t.Fatal(err)
	}
	<-working
	_ = conn.Close()
	if err := <-heard; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	server.Close() // waits for the log
	if !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), "the client closed the connection") {
		t.Errorf("the log has %s", log.String())
	}
}

// TestHalfClosed holds that a client that closes its sending side is answered.
func TestHalfClosed(t *testing.T) {
	var store rpctest.Store
	store.Put(key("x"), []byte("x"))
	server := serve(t, &store, rpc.Options{})
	for i := range 30 {
		conn := dial(t, server.URL)
		ready, closed := make(chan struct{}), make(chan struct{})
		store.Before(func(ctx context.Context) error {
			close(ready)
			<-closed
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(10 * time.Millisecond): // net/http hears of the half-close meanwhile
				return nil
			}
		})
		if _, err := fmt.Fprint(conn, raw("/content/get", wire.Request{ObjID: id("x")})); err != nil {
			t.Fatal(err)
		}
		<-ready
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		close(closed)
		if got := answer(t, conn); got.StatusCode != http.StatusOK {
			t.Fatalf("request %d: %s", i, got.Status)
		}
	}
}

// TestAddOutlivesItsClient holds that an add is finished though its client is gone.
func TestAddOutlivesItsClient(t *testing.T) {
	var store rpctest.Store
	l := httpapi.DefaultLimits()
	l.HalfClosed = 0
	server := serve(t, &store, rpc.Options{Limits: l})
	working, gone := make(chan struct{}), make(chan struct{})
	result := make(chan error, 1)
	store.Before(func(ctx context.Context) error {
		close(working)
		<-gone
		select {
		case <-ctx.Done():
			result <- ctx.Err()
		case <-time.After(100 * time.Millisecond):
			result <- nil
		}
		return ctx.Err()
	})
	conn := dial(t, server.URL)
	if _, err := fmt.Fprint(conn, raw("/content/add", wire.Request{ObjID: id("x"), Content: []byte("x")})); err != nil {
		t.Fatal(err)
	}
	<-working
	_ = conn.Close()
	close(gone)
	if err := <-result; err != nil {
		t.Error(err)
	}
}

// raw is a request in JSON as it goes over the network.
func raw(path string, request wire.Request) string {
	body := text(request.Encode(wire.JSON))
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", path, asJSON, len(body), body)
}
