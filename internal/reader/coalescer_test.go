// SPDX-License-Identifier: GPL-3.0-or-later

package reader

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"winery/test/expect"
)

// server is a coalescer's other side: it doubles numbers, one call at a time
// being let through by the test.
type server struct {
	calls chan []int // the keys of each call, sent when it begins
	pass  chan error // what it answers
	ended chan error // its context's error, if that ended first
}

func newServer() *server {
	return &server{calls: make(chan []int), pass: make(chan error), ended: make(chan error, 1)}
}

func (s *server) call(ctx context.Context, _ string, keys []int) ([]int, error) {
	s.calls <- slices.Clone(keys)
	select {
	case err := <-s.pass:
		doubled := make([]int, len(keys))
		for i, k := range keys {
			doubled[i] = 2 * k
		}
		return doubled, err
	case <-ctx.Done():
		s.ended <- ctx.Err()
		return nil, ctx.Err()
	}
}

func waiting(c *coalescer[string, int, int]) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, g := range c.groups {
		n += len(g.waiting)
	}
	return n
}

func idle(t *testing.T, c *coalescer[string, int, int]) {
	t.Helper()
	expect.Eventually(t, "the groups to go", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.groups) == 0
	})
}

func TestCoalescerGathersWhatWaits(t *testing.T) {
	s := newServer()
	c := newCoalescer(newDepth(1, 1), 8, s.call)
	var callers sync.WaitGroup
	lookUp := func(keys ...int) {
		callers.Go(func() {
			got, err := c.do(t.Context(), "g", keys)
			want := slices.Clone(keys)
			for i := range want {
				want[i] *= 2
			}
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("do(%v) = %v, %v", keys, got, err)
			}
		})
	}
	lookUp(1)
	if first := <-s.calls; !slices.Equal(first, []int{1}) {
		t.Fatalf("an idle coalescer asked %v, want the one key at once", first)
	}
	// The others arrive one after the other while the first is in flight.
	for i := range 4 {
		lookUp(10*i, 10*i+1, 10*i+2)
		expect.Eventually(t, "the lookup to queue", func() bool { return waiting(c) == i+1 })
	}
	s.pass <- nil
	if second := <-s.calls; !slices.Equal(second, []int{0, 1, 2, 10, 11, 12}) {
		t.Fatalf("second call asked %v, want the two lookups that fit into 8 keys", second)
	}
	s.pass <- nil
	if third := <-s.calls; !slices.Equal(third, []int{20, 21, 22, 30, 31, 32}) {
		t.Fatalf("third call asked %v", third)
	}
	s.pass <- nil
	callers.Wait()
	idle(t, c)
}

func TestCoalescerLargeLookupGoesAlone(t *testing.T) {
	s := newServer()
	c := newCoalescer(newDepth(1, 1), 2, s.call)
	go func() { <-s.calls; s.pass <- nil }()
	got, err := c.do(t.Context(), "g", []int{1, 2, 3})
	if err != nil || !slices.Equal(got, []int{2, 4, 6}) {
		t.Fatalf("got %v, %v", got, err)
	}
	if got, err := c.do(t.Context(), "g", nil); got != nil || err != nil {
		t.Fatalf("no keys: %v, %v", got, err)
	}
	idle(t, c)
}

func TestCoalescerBoundsRoundsByGroup(t *testing.T) {
	s := newServer()
	c := newCoalescer(newDepth(2, 2), 8, s.call)
	var callers sync.WaitGroup
	lookUp := func(group string) {
		callers.Go(func() {
			if got, err := c.do(t.Context(), group, []int{7}); err != nil || got[0] != 14 {
				t.Errorf("%s: %v, %v", group, got, err)
			}
		})
	}
	lookUp("a")
	<-s.calls
	lookUp("a")
	<-s.calls
	lookUp("a")
	expect.Eventually(t, "the third of a to queue", func() bool { return waiting(c) == 1 })
	lookUp("b")
	<-s.calls
	for range 3 {
		s.pass <- nil
	}
	<-s.calls
	s.pass <- nil
	callers.Wait()
	idle(t, c)
}

func TestCoalescerGivesTheErrorToAll(t *testing.T) {
	s := newServer()
	c := newCoalescer(newDepth(1, 1), 8, s.call)
	broken := errors.New("broken")
	errs := make(chan error)
	ask := func() { _, err := c.do(t.Context(), "g", []int{1}); errs <- err }
	go ask()
	<-s.calls
	go ask()
	go ask()
	expect.Eventually(t, "two to queue", func() bool { return waiting(c) == 2 })
	s.pass <- nil
	if err := <-errs; err != nil {
		t.Fatal(err)
	}
	<-s.calls
	s.pass <- broken
	for range 2 {
		if err := <-errs; !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
	}
	idle(t, c)
}

func TestCoalescerOutlivesCallersThatGiveUp(t *testing.T) {
	s := newServer()
	c := newCoalescer(newDepth(1, 1), 8, s.call)
	ask := func() (give context.CancelFunc, answer chan error) {
		ctx, cancel := context.WithCancel(t.Context())
		answer = make(chan error, 1)
		go func() { _, err := c.do(ctx, "g", []int{1}); answer <- err }()
		return cancel, answer
	}
	giveUp0, answer0 := ask()
	<-s.calls
	giveUp1, answer1 := ask()
	expect.Eventually(t, "one to queue", func() bool { return waiting(c) == 1 })
	giveUp2, answer2 := ask()
	expect.Eventually(t, "two to queue", func() bool { return waiting(c) == 2 })
	giveUp3, answer3 := ask()
	expect.Eventually(t, "three to queue", func() bool { return waiting(c) == 3 })

	// One gives up while it waits: it is not asked for.
	giveUp1()
	if err := <-answer1; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	s.pass <- nil
	if err := <-answer0; err != nil {
		t.Fatal(err)
	}
	if keys := <-s.calls; len(keys) != 2 {
		t.Fatalf("asked for %d keys, want those of the 2 who still wait", len(keys))
	}
	// One of a round gives up: the other is not disturbed.
	giveUp2()
	if err := <-answer2; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	select {
	case err := <-s.ended:
		t.Fatalf("call ended (%v) although a caller waits for it", err)
	default:
	}
	// The last caller's context ends: no caller needs the answer.
	giveUp3()
	if err := <-answer3; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := <-s.ended; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	giveUp0()
	idle(t, c)
}
