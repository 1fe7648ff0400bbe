// SPDX-License-Identifier: GPL-3.0-or-later

package scrub

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"winery/internal/storage"
	"winery/sharedbase"
)

// place is an image, or a pool, whose mapped images are listed.
type place struct{ pool, image string }

// maxHanging is how many calls of a pool may be left behind before no further image of the
// pool is read: each holds a thread, and the memory of a scrub.
const maxHanging = 4

// grace is how long work that must end has to hear of that.
const grace = 3 * time.Second

// silentError says that a call of a pool did not return in time.
type silentError struct{ limit time.Duration }

func (e *silentError) Error() string {
	return fmt.Sprintf("a call has not returned for %v; does the device of the image, or its pool, hang? (see the kernel's log, and the state of the store)", e.limit)
}

// limited calls do with the pools. The context of do ends when a call of a pool has not
// returned for CallTimeout, or when ctx ends. Where do does not hear that, because a call
// hangs in a device or a library, it is left behind: left is closed when do has returned.
func limited[T any](ctx context.Context, p *Patrol, do func(context.Context, storage.Set) (T, error)) (result T, left <-chan struct{}, err error) {
	limit := cmp.Or(p.CallTimeout, time.Minute)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	in := new(calls)
	pools := p.Pools.Observed(in.begin)
	var got T
	var failure error
	returned := make(chan struct{})
	go func() {
		defer close(returned)
		got, failure = do(ctx, pools)
	}()
	tick := time.NewTicker(limit / 10)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-returned:
			return got, nil, failure
		case <-ctx.Done():
		case <-tick.C:
			if in.silent() >= limit {
				cancel(&silentError{limit})
			}
		}
	}
	select {
	case <-returned:
		if failure != nil {
			failure = context.Cause(ctx)
		}
		return got, nil, failure
	case <-time.After(grace):
		return result, returned, context.Cause(ctx)
	}
}

// leave notes what was left behind, if anything was.
func (p *Patrol) leave(at place, left <-chan struct{}) {
	if left != nil {
		p.hanging[at] = left
	}
}

// hangs reports whether a call that was left behind has not returned yet.
func (p *Patrol) hangs(at place) bool {
	select {
	case <-p.hanging[at]:
		delete(p.hanging, at)
	default:
	}
	return p.hanging[at] != nil
}

// may reports whether to begin with an image at all.
func (p *Patrol) may(img sharedbase.Verification) bool {
	if n := p.hangingIn(img.Pool); n >= maxHanging {
		p.fails(img.Pool, fmt.Errorf("%d calls do not return; no other image is read until one does", n))
		return false
	}
	return !p.hangs(place{img.Pool, img.Name})
}

// hangingIn counts the calls of a pool that hang.
func (p *Patrol) hangingIn(pool string) (n int) {
	for at := range p.hanging {
		if at.pool == pool && p.hangs(at) {
			n++
		}
	}
	return n
}
