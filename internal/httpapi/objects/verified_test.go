// SPDX-License-Identifier: GPL-3.0-or-later

package objects_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"winery/internal/httpapi"
	"winery/internal/httpapi/objects"
	"winery/internal/httpapi/rpc"
	"winery/test/expect"
)

// served is a server with memory for answers that is known.
func served(t *testing.T, store objects.Store, answers int64) (*httptest.Server, *httpapi.Memory) {
	limits := httpapi.DefaultLimits()
	limits.Answers = httpapi.NewMemory("answers", answers, 20*time.Millisecond)
	server := httptest.NewServer(objects.NewHandler(store, objects.Options{
		MaxObjectSize: maxSize, Limits: limits, Log: slog.New(slog.DiscardHandler),
	}))
	t.Cleanup(server.Close)
	return server, limits.Answers
}

func large(text string) string { return string(bytes.Repeat([]byte(text), 1<<20/len(text))) }

// TestRangesReadOnce holds that an object that is read in parts, by many clients, is read and verified once.
func TestRangesReadOnce(t *testing.T) {
	var store counting
	content := large("0123456789abcdef")
	put(&store.Store, content)
	server, _ := served(t, &store, 10<<20)
	if got := do(t, server, "HEAD", address(content), ""); got.status != 200 || got.header.Get("Content-Length") != fmt.Sprint(len(content)) {
		t.Errorf("%+v", got)
	}
	if n := store.gets.Load(); n != 0 {
		t.Errorf("HEAD read the object %d times", n)
	}
	const part = 64 << 10
	var clients sync.WaitGroup
	for from := 0; from < len(content); from += part {
		clients.Go(func() {
			got := do(t, server, "GET", address(content), "", fmt.Sprintf("Range: bytes=%d-%d", from, from+part-1))
			if got.status != 206 || got.text != content[from:from+part] {
				t.Errorf("part at %d: %d, %d bytes", from, got.status, len(got.text))
			}
		})
	}
	clients.Wait()
	if n := store.gets.Load(); n != 1 {
		t.Errorf("the object was read %d times", n)
	}
	// A deleted object is gone, also for clients that read it in parts.
	if err := store.Delete(t.Context(), sha256.Sum256([]byte(content))); err != nil {
		t.Fatal(err)
	}
	if got := do(t, server, "GET", address(content), "", "Range: bytes=0-1"); got.status != 404 {
		t.Errorf("deleted: %+v", got)
	}
}

// TestRangesMakeRoom holds that objects kept for the next range are given up where memory is wanted, and only then.
func TestRangesMakeRoom(t *testing.T) {
	var store counting
	first, second, third := large("first 16 bytes!!"), large("second 16 bytes!"), large("third 16 bytes!!")
	put(&store.Store, first, second, third)
	server, memory := served(t, &store, 2<<20)
	part := func(content string, gets int32) {
		t.Helper()
		if got := do(t, server, "GET", address(content), "", "Range: bytes=0-4"); got.status != 206 || got.text != content[:5] {
			t.Errorf("%+v", got)
		}
		if n := store.gets.Load(); n != gets {
			t.Errorf("%d reads, want %d", n, gets)
		}
	}
	part(first, 1)
	part(second, 2)
	part(first, 2)
	part(third, 3) // in place of the second
	part(first, 3)
	part(second, 4) // in place of the third
	if got := do(t, server, "GET", address(third), ""); got.status != 200 || got.text != third {
		t.Errorf("a whole object: %d", got.status)
	}
	all := memory.NewCharge()
	// The handler releases its own memory a moment after the client has the object.
	expect.Eventually(t, "what is kept to be given up", func() bool { return all.Reach(t.Context(), 2<<20) == nil })
	if got := do(t, server, "GET", address(first), "", "Range: bytes=0-4"); got.status != 503 {
		t.Errorf("without memory: %+v", got)
	}
	all.Release()
	if got := do(t, server, "GET", address(first), "", "Range: bytes=0-4"); got.status != 206 {
		t.Errorf("with memory again: %+v", got)
	}
}

// TestRangesFail holds that a failure is not kept.
func TestRangesFail(t *testing.T) {
	var store counting
	content := large("fails 16 bytes!!")
	put(&store.Store, content)
	server, memory := served(t, &store, 2<<20)
	store.failGets(fmt.Errorf("%w: %w", httpapi.ErrCorrupted, errors.New("a flipped bit")))
	if got := do(t, server, "GET", address(content), "", "Range: bytes=0-4"); got.status != 500 {
		t.Errorf("%+v", got)
	}
	store.failGets(nil)
	if got := do(t, server, "GET", address(content), "", "Range: bytes=0-4"); got.status != 206 {
		t.Errorf("%+v", got)
	}
	if err := memory.NewCharge().Reach(t.Context(), 2<<20); err != nil {
		t.Errorf("memory is lost: %v", err)
	}
}

// panicking is a store whose first Get panics, once it has its memory.
type panicking struct{ counting }

func (s *panicking) Get(ctx context.Context, id [32]byte, admit rpc.Admit) ([]byte, error) {
	content, err := s.counting.Get(ctx, id, admit)
	if s.gets.Load() == 1 {
		panic("bug")
	}
	return content, err
}

// TestRangesPanic: a bug in the store fails its request, and neither keeps memory nor is an empty object.
func TestRangesPanic(t *testing.T) {
	var store panicking
	content := large("panic 16 bytes!!")
	put(&store.Store, content)
	server, memory := served(t, &store, 2<<20)
	for _, status := range []int{500, 206} {
		if got := do(t, server, "GET", address(content), "", "Range: bytes=0-4"); got.status != status {
			t.Errorf("want status %d: %+v", status, got)
		}
	}
	if err := memory.NewCharge().Reach(t.Context(), 2<<20); err != nil {
		t.Errorf("memory is lost: %v", err)
	}
}
