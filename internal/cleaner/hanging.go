// SPDX-License-Identifier: GPL-3.0-or-later

package cleaner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"winery/internal/hang"
	"winery/internal/progress"
	"winery/internal/storage"
	"winery/sharedbase"
)

// maxHanging is how many images of a pool may not answer before no further image of the
// pool is begun. imageConcurrency - 1 more may be in flight by then.
const maxHanging = 4

// limited calls do with the pools, for a shard that is claimed. The context of do ends when
// a call of a pool has not returned for CallTimeout, or when ctx ends. Where do does not
// hear that, because a call hangs in a device or a library, it is left behind, and noted in
// hanging: then the caller can release the claim. So do must destroy nothing once its
// context has ended.
func limited[T any](ctx context.Context, c *Cleaner, task progress.Task, claim claimed, do func(context.Context, storage.Set) (T, error)) (T, error) {
	at := hang.Place{Pool: claim.Pool(), Image: claim.Name()}
	result, err := hang.Watch(ctx, cmp.Or(c.CallTimeout, time.Minute), &c.hanging, at, func(ctx context.Context, begin hang.Begin) (T, error) {
		return do(ctx, c.Pools.Observed(begin))
	})
	if isSilent(err) {
		c.Log.Warn("image does not answer, cleaning the next one", "shard", at.Image, "pool", at.Pool, "task", task, "err", err)
	}
	return result, err
}

// claimed is what both kinds of claims know of their image.
type claimed interface {
	Name() string
	Pool() string
}

func isSilent(err error) bool {
	_, silent := errors.AsType[*hang.SilentError](err)
	return silent
}

// round is one pass over shards.
type round struct {
	*Cleaner
	task progress.Task

	mu      sync.Mutex
	errs    []error
	silent  map[string]int  // by pool: images that did not answer in this round
	skipped map[string]bool // pools
}

func (c *Cleaner) newRound(task progress.Task) *round {
	return &round{Cleaner: c, task: task, silent: map[string]int{}, skipped: map[string]bool{}}
}

// canBegin reports whether to begin with a shard at all.
func (r *round) canBegin(s sharedbase.Shard) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	hanging := max(r.hanging.In(s.Pool), r.silent[s.Pool])
	switch {
	case r.skipped[s.Pool]:
	case hanging >= maxHanging:
		r.skipped[s.Pool] = true
		r.Log.Warn("pool does not answer, cleaning the others", "pool", s.Pool, "task", r.task, "images", hanging)
		r.errs = append(r.errs, fmt.Errorf("pool %s: %d images do not answer; no other image of the pool is cleaned until one of these answers", s.Pool, hanging))
	case r.hanging.Hangs(hang.Place{Pool: s.Pool, Image: s.Name}):
		r.errs = append(r.errs, fmt.Errorf("%s shard %s: the image does not answer: an earlier call has not returned", r.task, s.Name))
	default:
		return true
	}
	return false
}

// note notes an error that is no shard's.
func (r *round) note(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errs = append(r.errs, err)
}

// fail notes what went wrong with a shard.
func (r *round) fail(s sharedbase.Shard, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errs = append(r.errs, fmt.Errorf("%s shard %s: %w", r.task, s.Name, err))
	if isSilent(err) {
		r.silent[s.Pool]++
	}
}
