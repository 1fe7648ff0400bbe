// SPDX-License-Identifier: GPL-3.0-or-later

package client_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strconv"
	"sync/atomic"
	"testing"

	"winery/internal/httpapi/rpc"
	"winery/internal/httpapi/rpc/client"
	"winery/internal/httpapi/rpc/rpctest"
	"winery/test/corrupt"
)

// mutating passes requests on to a server and damages its answers.
type mutating struct {
	server http.Handler
	change func(body []byte) []byte
	whole  atomic.Bool // announce the length that the answer should have had
}

func (m *mutating) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer := httptest.NewRecorder()
	m.server.ServeHTTP(answer, r)
	body := m.change(answer.Body.Bytes())
	for name, values := range answer.Header() {
		w.Header()[name] = values
	}
	if !m.whole.Load() {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(body)
}

// TestMutatedAnswers damages answers on their way: a call returns what is true, or an error.
func TestMutatedAnswers(t *testing.T) {
	random := corrupt.Random(t)
	var store rpctest.Store
	contents := [][]byte{[]byte("one"), {}, nil, bytes.Repeat([]byte("large"), 2000)}
	ids := [][32]byte{key("one"), key(""), key("none"), key(string(contents[3]))}
	for i, content := range contents {
		if content != nil {
			store.Put(ids[i], content)
		}
	}
	damage, what := false, ""
	proxy := &mutating{server: winery(&store, rpc.Options{}), change: func(body []byte) []byte {
		if damage {
			body, what = corrupt.Mutate(random, body)
		}
		return body
	}}
	c := newClient(t, serve(t, proxy), client.RetryFor(0))
	for i := range 1000 {
		damage = i%100 != 0
		proxy.whole.Store(i%3 == 0)
		n := i % len(ids)
		got, err := c.Get(t.Context(), ids[n])
		right := err == nil && contents[n] != nil && bytes.Equal(got, contents[n])
		if !right && (err == nil || got != nil || !damage && contents[n] != nil) {
			t.Fatalf("%s: got %.20q, %v instead of %.20q", what, got, err, contents[n])
		}
		batch, err := c.GetBatch(t.Context(), ids)
		right = err == nil && reflect.DeepEqual(batch, contents)
		if !right && (err == nil || batch != nil || !damage) {
			t.Fatalf("%s: %.20q, %v", what, batch, err)
		}
	}
}

// TestMutatedErrors: an error with a damaged text remains an error, and is never taken for the absence of an
// existing object.
func TestMutatedErrors(t *testing.T) {
	random := corrupt.Random(t)
	var store rpctest.Store
	store.Put(key("right"), []byte("wrong"))
	proxy := &mutating{server: winery(&store, rpc.Options{})}
	proxy.change = func(body []byte) []byte {
		mutated, _ := corrupt.Mutate(random, body)
		return mutated
	}
	c := newClient(t, serve(t, proxy), client.RetryFor(0))
	for name, call := range map[string]func(context.Context) error{
		"check":  func(ctx context.Context) error { return c.Check(ctx, key("right")) },
		"add":    func(ctx context.Context) error { return c.Add(ctx, key("a"), []byte("b")) },
		"delete": func(ctx context.Context) error { return c.Delete(ctx, key("right")) },
	} {
		for range 300 {
			if err := call(t.Context()); err == nil || err.Error() == "" || errors.Is(err, client.ErrNotFound) {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
}

// TestWrongBytes has a server that answers with wrong bytes, in a well-formed message.
func TestWrongBytes(t *testing.T) {
	var store rpctest.Store
	store.Put(key("right"), []byte("wrong"))
	store.Put(key("sound"), []byte("sound"))
	c := newClient(t, serve(t, winery(&store, rpc.Options{})))
	if got, err := c.Get(t.Context(), key("right")); got != nil || !errors.Is(err, client.ErrCorrupted) {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := c.GetBatch(t.Context(), [][32]byte{key("sound"), key("right")}); got != nil || !errors.Is(err, client.ErrCorrupted) {
		t.Errorf("%q, %v", got, err)
	}
}
