// SPDX-License-Identifier: GPL-3.0-or-later

package mapper

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"winery/sharedbase"
)

// round is one Step's work and outcome.
type round struct {
	*Mapper
	host string

	mu       sync.Mutex // for all below, and for the Mapper's maps
	worked   bool
	errs     []error
	failed   map[string]int // by pool
	progress Progress
	reported time.Time
}

// image is one that needs work.
type image struct {
	sharedbase.Shard
	mapped   bool // on this host
	recorded bool // for this host
}

// list returns the images that need work, those that failed before last.
func (r *round) list(ctx context.Context) []image {
	var todo []image
	for pool, shards := range r.shards(ctx, available) {
		r.progress.Wanted += len(shards)
		mapped, err := r.Pools[pool].Mapped(ctx)
		if err != nil {
			r.errs = append(r.errs, err)
			continue
		}
		for _, s := range shards {
			img := image{s, mapped[s.Name], slices.Contains(s.MappedOn, r.host)}
			if img.mapped && img.recorded && r.failures[s.Name] == 0 {
				r.progress.Mapped++
				continue
			}
			todo = append(todo, img)
		}
	}
	slices.SortStableFunc(todo, func(a, b image) int {
		return cmp.Compare(r.failures[a.Name], r.failures[b.Name])
	})
	return todo
}

// reserve makes the images that packers will want. An image that exists is
// reserved all the same, once a process: the pool may have to map it.
func (r *round) reserve(ctx context.Context) {
	before := r.reserved
	r.reserved = map[string]bool{}
	for pool, shards := range r.shards(ctx, waiting) {
		images, err := r.Pools[pool].List(ctx)
		if err != nil {
			r.errs = append(r.errs, err)
			continue
		}
		for _, s := range shards {
			if _, exists := slices.BinarySearch(images, s.Name); !exists || !before[s.Name] {
				if err := r.Pools[pool].Reserve(ctx, s.Name); err != nil {
					r.errs = append(r.errs, err)
					continue
				}
				r.worked = true
			}
			r.reserved[s.Name] = true
		}
	}
}

// shards returns, by pool, those in one of the states that are this mapper's.
func (r *round) shards(ctx context.Context, states []sharedbase.ShardState) map[string][]sharedbase.Shard {
	all, err := r.Base.ListShards(ctx, sharedbase.ShardFilter{States: states})
	if err != nil {
		r.errs = append(r.errs, err)
	}
	pools := map[string][]sharedbase.Shard{}
	for _, s := range all {
		if r.Pools[s.Pool] != nil && strings.HasPrefix(s.Name, r.OnlyPrefix) {
			pools[s.Pool] = append(pools[s.Pool], s)
		}
	}
	return pools
}

// settle does what an image needs and notes the outcome.
func (r *round) settle(ctx context.Context, img image) {
	if !r.may(ctx, img) {
		return
	}
	hanging, err := r.limited(ctx, img)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.errs = append(r.errs, fmt.Errorf("mapping image %s of pool %s: %w", img.Name, img.Pool, err))
		r.failed[img.Pool]++
		r.failures[img.Name]++
		if hanging != nil {
			r.hanging[img.Name] = hanging
		}
		return
	}
	delete(r.failures, img.Name)
	r.worked = true
	r.progress.Mapped++
	r.report()
}

// may tells whether to begin with an image at all in this round.
func (r *round) may(ctx context.Context, img image) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if ctx.Err() != nil || r.failed[img.Pool] >= maxFailures {
		return false
	}
	if earlier := r.hanging[img.Name]; earlier != nil && len(earlier) == 0 {
		r.errs = append(r.errs, fmt.Errorf("mapping image %s of pool %s: still no answer to an earlier try", img.Name, img.Pool))
		return false
	}
	delete(r.hanging, img.Name) // it came back; its outcome was counted as a failure
	return true
}

// report tells now and then how far the round has come. The caller holds mu.
func (r *round) report() {
	if r.Progress == nil || time.Since(r.reported) < time.Second && r.progress.Mapped < r.progress.Wanted {
		return
	}
	r.reported = time.Now()
	r.Progress(r.progress)
}
