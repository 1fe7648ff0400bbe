// SPDX-License-Identifier: GPL-3.0-or-later

// Package hang makes calls that may never return, because a device or a library hangs and
// ignores the context, and keeps account of those that were left behind.
package hang

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// Call calls f in a goroutine of its own, and returns what f returns. When ctx has ended, f
// has grace to notice that and to return. Else f is left behind: Call returns the zero
// value, the cause of ctx's end, and left, which is closed once f has returned. A panic of
// f is one of Call; that of an f that was left behind is lost.
func Call[T any](ctx context.Context, grace time.Duration, f func(context.Context) (T, error)) (value T, left <-chan struct{}, err error) {
	var got T
	var failure, panicked error
	returned := make(chan struct{})
	go func() {
		defer close(returned)
		defer func() {
			if v := recover(); v != nil {
				panicked = fmt.Errorf("%v\n%s", v, debug.Stack())
			}
		}()
		got, failure = f(ctx)
	}()
	select {
	case <-returned:
	case <-ctx.Done():
		select {
		case <-returned:
		case <-time.After(grace):
			return value, returned, context.Cause(ctx)
		}
	}
	if panicked != nil {
		panic(panicked)
	}
	return got, nil, failure
}

// Place is what a call was about.
type Place struct {
	Pool  string
	Image string // "" for the listing of the pool's mapped images
}

// Calls are those that were left behind, at most one at each place. The zero value has
// none. Its methods may be called concurrently.
type Calls struct {
	mu   sync.Mutex
	left map[Place]<-chan struct{}
}

// Add adds what [Call] has left behind; nothing if left is nil.
func (c *Calls) Add(at Place, left <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if left == nil {
		return
	}
	if c.left == nil {
		c.left = map[Place]<-chan struct{}{}
	}
	c.left[at] = left
}

// Hangs reports whether the call at a place has not returned yet.
func (c *Calls) Hangs(at Place) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hangs(at)
}

// In counts the calls of a pool that have not returned yet.
func (c *Calls) In(pool string) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for at := range c.left {
		if at.Pool == pool && c.hangs(at) {
			n++
		}
	}
	return n
}

// hangs forgets a call that has returned.
func (c *Calls) hangs(at Place) bool {
	left, found := c.left[at]
	if !found {
		return false
	}
	select {
	case <-left:
		delete(c.left, at)
		return false
	default:
		return true
	}
}
