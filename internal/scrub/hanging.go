// SPDX-License-Identifier: GPL-3.0-or-later

package scrub

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"winery/internal/hang"
	"winery/internal/storage"
	"winery/sharedbase"
)

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
// hangs in a device or a library, it is left behind, and noted in hanging.
func limited[T any](ctx context.Context, p *Patrol, at hang.Place, do func(context.Context, storage.Set) (T, error)) (T, error) {
	limit := cmp.Or(p.CallTimeout, time.Minute)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	in := &calls{limit: limit, silent: func() { cancel(&silentError{limit}) }}
	pools := p.Pools.Observed(in.begin)
	result, left, err := hang.Call(ctx, grace, func(ctx context.Context) (T, error) { return do(ctx, pools) })
	p.hanging.Add(at, left)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return result, err
}

// may reports whether to begin with an image at all.
func (p *Patrol) may(img sharedbase.Verification) bool {
	if n := p.hanging.In(img.Pool); n >= maxHanging {
		p.fails(img.Pool, fmt.Errorf("%d calls do not return; no other image is read until one does", n))
		return false
	}
	return !p.hanging.Hangs(hang.Place{Pool: img.Pool, Image: img.Name})
}
