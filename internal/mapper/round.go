// SPDX-License-Identifier: GPL-3.0-or-later

package mapper

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"winery/internal/hang"
	"winery/internal/progress"
	"winery/pool"
	"winery/sharedbase"
)

// round is one Step's work and outcome.
type round struct {
	*Mapper
	host string
	all  bool // compares all images with what is mapped

	mu         sync.Mutex // for all below, and for the Mapper's maps and progress
	worked     bool
	errs       []error
	failed     map[string]int // by pool
	incomplete bool           // an image that is recorded was not mapped, or may not be
	reported   time.Time
}

// image is one that needs work.
type image struct {
	sharedbase.ShardToMap
	mapped bool // in the pool's listing; false where there is none
	passed bool // the check on this host, at some time, and has not failed since
}

// list returns the images that need work, those that failed before last.
func (r *round) list(ctx context.Context) []image {
	mapped := map[string]map[string]bool{}
	if r.all {
		mapped = r.listMapped(ctx)
		r.progress = progress.Report{Task: Mapping, Images: true}
	}
	r.progress.Total = r.progress.Done
	var todo []image
	for s, err := range r.Base.ShardsToMap(ctx, sharedbase.MappingFilter{
		Host: r.host, Pools: slices.Collect(maps.Keys(r.Pools)), Prefix: r.OnlyPrefix, Unrecorded: !r.all,
	}) {
		if err != nil {
			r.fail(err)
			break
		}
		r.progress.Total++
		img := image{s, mapped[s.Pool][s.Name], s.Recorded && r.failures[s.Name] == 0}
		switch {
		case r.all && s.Recorded && mapped[s.Pool] == nil: // its listing failed
		case img.mapped && img.passed:
			r.progress.Done++
		default:
			todo = append(todo, img)
		}
	}
	slices.SortStableFunc(todo, func(a, b image) int {
		return cmp.Compare(r.failures[a.Name], r.failures[b.Name])
	})
	return todo
}

// listMapped asks all pools at once, each within ImageTimeout, for the images
// that are mapped. It leaves out the pools that fail.
func (r *round) listMapped(ctx context.Context) map[string]map[string]bool {
	mapped := map[string]map[string]bool{}
	var asked sync.WaitGroup
	for name, p := range r.Pools {
		asked.Go(func() {
			at := hang.Place{Pool: name}
			if r.hanging.Hangs(at) {
				r.fail(fmt.Errorf("pool %s: an earlier listing of its mapped images has not returned", name))
				return
			}
			var names map[string]bool // set when limited returns no error
			err := r.limited(ctx, at, func(ctx context.Context) (err error) {
				names, err = p.Mapped(ctx)
				return err
			})
			if err != nil {
				r.fail(err)
				return
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			mapped[name] = names
		})
	}
	asked.Wait()
	return mapped
}

// fail notes an error because of which images may be unmapped.
func (r *round) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errs = append(r.errs, err)
	r.incomplete = true
}

// reserve makes the images that packers will want, or has the pool map them:
// once a process, and again whenever all images are compared. A packer of this
// Winery needs no mapping, and commits no image to which this host could write.
func (r *round) reserve(ctx context.Context) {
	before := r.reserved
	r.reserved = map[string]bool{}
	shards, err := r.Base.ListShards(ctx, sharedbase.ShardFilter{States: waiting})
	if err != nil {
		r.fail(err)
	}
	leases, err := r.Base.Leases(ctx)
	if err != nil {
		r.fail(err)
		return
	}
	for _, s := range shards {
		if r.Pools[s.Pool] == nil || !strings.HasPrefix(s.Name, r.OnlyPrefix) {
			continue
		}
		if _, leased := leases[s.Locker]; leased && s.State == sharedbase.StatePacking {
			if err := r.inPool(ctx, s, "unmapped for its packer", r.Pools[s.Pool].Unreserve); err != nil {
				r.errs = append(r.errs, err)
			}
			continue
		}
		if !before[s.Name] || r.all {
			if err := r.inPool(ctx, s, "reserved", r.Pools[s.Pool].Reserve); err != nil {
				r.fail(err)
				continue
			}
		}
		r.worked = r.worked || !before[s.Name]
		r.reserved[s.Name] = true
	}
}

// inPool makes a call of a pool for the image of a shard, which is then done, within
// ImageTimeout, unless the pool hangs.
func (r *round) inPool(ctx context.Context, s sharedbase.Shard, done string, call func(context.Context, string) error) error {
	if n := r.hanging.In(s.Pool); n > 0 {
		return fmt.Errorf("pool %s: %d calls do not return; image %s is not %s until they return", s.Pool, n, s.Name, done)
	}
	return r.limited(ctx, hang.Place{Pool: s.Pool, Image: s.Name}, func(context.Context) error {
		return call(ctx, s.Name) // with the context of the whole step, as in admit
	})
}

// process does what an image needs and notes the outcome.
func (r *round) process(ctx context.Context, img image) {
	if !r.canBegin(ctx, img) {
		return
	}
	err := r.watched(ctx, img, func(watched context.Context, p pool.Pool) error {
		return r.admit(ctx, watched, p, img)
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	if errors.Is(err, sharedbase.ErrMoved) { // a later step maps it where it is now
		r.Log.Debug("image was moved to another pool meanwhile", "shard", img.Name, "pool", img.Pool)
		return
	}
	if err != nil {
		r.errs = append(r.errs, fmt.Errorf("mapping image %s of pool %s: %w", img.Name, img.Pool, err))
		r.failed[img.Pool]++
		r.failures[img.Name]++
		r.incomplete = r.incomplete || img.Recorded
		return
	}
	delete(r.failures, img.Name)
	r.worked = r.worked || !img.Recorded || !img.mapped
	r.progress.Done++
	r.report()
}

// canBegin reports whether to begin with an image at all in this round.
func (r *round) canBegin(ctx context.Context, img image) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	hanging := r.hanging.In(img.Pool)
	switch {
	case r.hanging.Hangs(hang.Place{Pool: img.Pool, Image: img.Name}):
		r.errs = append(r.errs, fmt.Errorf("mapping image %s of pool %s: the image does not answer: an earlier call has not returned", img.Name, img.Pool))
	case r.failed[img.Pool] < maxFailures && hanging >= maxHanging:
		r.errs = append(r.errs, fmt.Errorf("pool %s: %d calls do not return; no other image is mapped until they return", img.Pool, hanging))
		r.failed[img.Pool] = maxFailures
	case ctx.Err() == nil && r.failed[img.Pool] < maxFailures:
		return true
	}
	r.incomplete = r.incomplete || img.Recorded
	return false
}

// report reports the progress of the round from time to time. The caller holds
// mu.
func (r *round) report() {
	if r.Progress == nil || time.Since(r.reported) < time.Second && r.progress.Done < r.progress.Total {
		return
	}
	r.reported = time.Now()
	r.Progress(r.progress)
}
