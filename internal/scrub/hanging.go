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

// limited calls do with the pools. The context of do ends when a call of a pool has not
// returned for CallTimeout, or when ctx ends. Where do does not hear that, because a call
// hangs in a device or a library, it is left behind, and noted in hanging.
func limited[T any](ctx context.Context, p *Patrol, at hang.Place, do func(context.Context, storage.Set) (T, error)) (T, error) {
	return hang.Watch(ctx, cmp.Or(p.CallTimeout, time.Minute), &p.hanging, at, func(ctx context.Context, begin hang.Begin) (T, error) {
		return do(ctx, p.Pools.Observed(begin))
	})
}

// canBegin reports whether to begin with an image at all.
func (p *Patrol) canBegin(img sharedbase.Verification) bool {
	if n := p.hanging.In(img.Pool); n >= maxHanging {
		p.fails(img.Pool, fmt.Errorf("%d calls do not return; no other image is read until one of them returns", n))
		return false
	}
	return !p.hanging.Hangs(hang.Place{Pool: img.Pool, Image: img.Name})
}
