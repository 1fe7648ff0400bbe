// SPDX-License-Identifier: GPL-3.0-or-later

package objects

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"winery/internal/httpapi"
	"winery/internal/httpapi/rpc"
	"winery/test/expect"
)

// held is a store whose Get waits to be released.
type held struct {
	Store
	release chan struct{}
	gets    atomic.Int32
	content []byte
	err     error
}

func (s *held) Get(ctx context.Context, _ [32]byte, _ rpc.Admit) ([]byte, error) {
	s.gets.Add(1)
	select {
	case <-s.release:
		return s.content, s.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// users is how many requests have or want an object.
func (v *verified) users(id [32]byte) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	if o := v.objects[id]; o != nil {
		return o.users
	}
	return 0
}

const waiters = 20

// getAll has all waiters want an object at once.
func getAll(t *testing.T, v *verified, check func(content []byte, err error)) (waiting *sync.WaitGroup) {
	t.Helper()
	waiting = new(sync.WaitGroup)
	for range waiters {
		waiting.Go(func() {
			content, release, err := v.get(t.Context(), [32]byte{1})
			if err == nil {
				defer release()
			}
			check(content, err)
		})
	}
	return waiting
}

func answers(limit int64) *httpapi.Memory {
	return httpapi.NewMemory("answers", limit, 20*time.Millisecond)
}

// TestFailureIsShared: requests that wait for an object get the error of the one that
// reads it, instead of one after the other reading it again.
func TestFailureIsShared(t *testing.T) {
	fails := errors.New("no answer")
	s := &held{release: make(chan struct{}), err: fails}
	v := newVerified(answers(1<<20), s)
	waiting := getAll(t, v, func(_ []byte, err error) {
		if !errors.Is(err, fails) {
			t.Errorf("error %v", err)
		}
	})
	expect.Eventually(t, "all to wait", func() bool { return v.users([32]byte{1}) == waiters })
	close(s.release)
	waiting.Wait()
	if n := s.gets.Load(); n != 1 || v.users([32]byte{1}) != 0 {
		t.Errorf("%d reads, and %d users are left", n, v.users([32]byte{1}))
	}
}

// TestLeavingIsNotShared: the requests that wait read the object themselves, once, if the
// client left whose request read it.
func TestLeavingIsNotShared(t *testing.T) {
	s := &held{release: make(chan struct{}), content: []byte("content")}
	v := newVerified(answers(1<<20), s)
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		_, _, err := v.get(ctx, [32]byte{1})
		left <- err
	}()
	expect.Eventually(t, "the first to read", func() bool { return s.gets.Load() == 1 })
	waiting := getAll(t, v, func(content []byte, err error) {
		if string(content) != "content" || err != nil {
			t.Errorf("%q, %v", content, err)
		}
	})
	expect.Eventually(t, "all to wait", func() bool { return v.users([32]byte{1}) == waiters+1 })
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("the first: %v", err)
	}
	expect.Eventually(t, "all to wait for the next", func() bool { return s.gets.Load() == 2 && v.users([32]byte{1}) == waiters })
	close(s.release)
	waiting.Wait()
	if n := s.gets.Load(); n != 2 {
		t.Errorf("%d reads", n)
	}
}

// greedy is a store of objects of 600 KiB. Before a read of object 2 asks for memory, it
// waits until all have arrived; a read of object 1 keeps its memory until it is released.
type greedy struct {
	Store
	arrived, release chan struct{}
	holds            atomic.Bool
}

func (*greedy) Contains(context.Context, [32]byte) (bool, error) { return true, nil }

func (s *greedy) Get(_ context.Context, id [32]byte, admit rpc.Admit) ([]byte, error) {
	if id[31] == 2 {
		<-s.arrived
	}
	const size = 600 << 10
	if err := admit(size); err != nil {
		return nil, err
	}
	if id[31] == 1 {
		s.holds.Store(true)
		<-s.release
	}
	return make([]byte, size), nil
}

// TestRefusalIsNotShared: a client that has its share of the memory does not keep another
// from an object that both want.
func TestRefusalIsNotShared(t *testing.T) {
	s := &greedy{arrived: make(chan struct{}), release: make(chan struct{})}
	limits := httpapi.DefaultLimits()
	limits.Answers = answers(2 << 20)
	log := slog.New(slog.DiscardHandler)
	h := &handler{Options{Limits: limits, Log: log}, s, newVerified(limits.Answers, s)}
	server := httptest.NewServer(httpapi.Handler(h, httpapi.Options{Limits: limits, Log: log}))
	defer server.Close()
	get := func(host, object string) int {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(host)}}
		c := http.Client{Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/objects/"+strings.Repeat("0", 63)+object, nil)
		expect.NoError(t, err)
		r.Header.Set("Range", "bytes=0-4")
		answer, err := c.Do(r)
		if err != nil {
			t.Error(err)
			return 0
		}
		_ = answer.Body.Close()
		return answer.StatusCode
	}
	second := [32]byte{31: 2}
	var asking sync.WaitGroup
	want := func(host, object string, status int) {
		asking.Go(func() {
			if got := get(host, object); got != status {
				t.Errorf("object %s for %s: status %d, want %d", object, host, got, status)
			}
		})
	}
	want("127.0.0.1", "1", http.StatusPartialContent)
	expect.Eventually(t, "a client to have its share", s.holds.Load)
	want("127.0.0.1", "2", http.StatusServiceUnavailable)
	expect.Eventually(t, "it to read the second", func() bool { return h.verified.users(second) == 1 })
	want("127.0.0.1", "2", http.StatusServiceUnavailable)
	want("127.0.0.2", "2", http.StatusPartialContent)
	expect.Eventually(t, "all to wait for it", func() bool { return h.verified.users(second) == 3 })
	close(s.arrived)
	expect.Eventually(t, "the second to be read or refused", func() bool { return h.verified.users(second) == 0 })
	close(s.release)
	asking.Wait()
}
