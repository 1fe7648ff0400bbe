// SPDX-License-Identifier: GPL-3.0-or-later

package mapper

import (
	"context"
	"errors"
	"fmt"

	"winery/format"
	"winery/internal/hang"
	"winery/pool"
	"winery/sharedbase"
)

const (
	// sample is how many objects of an image must have their SHA-256.
	sample = 16
	// attempts is how often an image is read before it counts as damaged: an entry
	// that a cleaner is erasing can look damaged in one read.
	attempts = 3
)

// admit maps an image, checks what the mapping gives, and records the host. An image
// that passed the check on this host before is only asked for its beginning. It
// maps an image that is mapped, too: its mapping may be one of an image of the
// same name that was removed. The mapping itself ends with step, the context of the
// whole step, and not with ctx: on a host that is slow for hours, one that is cut
// off after a minute and begun again would never be done.
func (r *round) admit(step, ctx context.Context, p pool.Pool, img image) error {
	if err := p.Map(step, img.Name); err != nil {
		return err
	}
	if img.passed {
		if answers, err := begins(ctx, p, img); answers || err != nil {
			return err
		}
	}
	if err := r.check(ctx, p, img); err != nil || img.Recorded {
		return err
	}
	_, err := r.Base.RecordShardMapped(ctx, r.host, img.Pool, img.Name)
	return err
}

// begins says whether the mapping of an image returns the beginning of an image, by one
// read.
func begins(ctx context.Context, p pool.Pool, img image) (answers bool, err error) {
	src, err := p.OpenMapped(ctx, img.Name)
	if err != nil {
		return false, err
	}
	unfinished, err := p.Format().Unfinished(src, src.Size(), img.Name)
	return !unfinished, errors.Join(err, src.Close())
}

// check checks that the mapping of an image returns the complete image that was
// packed. If it does not, check reads the store itself. If the image in the store
// is right, only the mapping is wrong, and the image is mapped again. If the
// image in the store is wrong, too, the shard is quarantined, so that its table
// stays, unless it is quarantined already; or its image was moved to another pool
// meanwhile, and the wrong one is what was left behind: [sharedbase.ErrMoved].
func (r *round) check(ctx context.Context, p pool.Pool, img image) error {
	ids, err := r.compare(ctx, p.OpenMapped, img, nil)
	if !damaged(err) {
		return err
	}
	_, storeErr := r.compare(ctx, p.Open, img, ids)
	switch {
	case damaged(storeErr):
		if r.quarantined(ctx, img) {
			return storeErr
		}
		err := r.Base.QuarantineIn(ctx, img.ID, img.Pool, storeErr.Error())
		if errors.Is(err, sharedbase.ErrMoved) {
			return err
		}
		r.Metrics.Quarantined("mapper", img.Pool)
		return errors.Join(storeErr, err)
	case storeErr != nil:
		return fmt.Errorf("%w; cannot determine whether the store has the image: %w", err, storeErr)
	}
	r.Log.Warn("mapping is wrong, store is right: mapping the image again", "shard", img.Name, "pool", img.Pool, "err", err)
	if err := pool.Remap(ctx, p, img.Name); err != nil {
		return err
	}
	if _, err := r.compare(ctx, p.OpenMapped, img, ids); err != nil {
		return fmt.Errorf("the image in the store is right, its new mapping on this host is wrong (check the host's memory and kernel log): %w", err)
	}
	return nil
}

// quarantined reports whether the shard of an image is known to be quarantined. Each host
// checks a damaged image again in each step: that is no reason to replace the time of the
// quarantine, or the reason that a repair goes by.
func (r *round) quarantined(ctx context.Context, img image) bool {
	err := r.Base.CheckQuarantine(ctx, sharedbase.Shard{ID: img.ID, Name: img.Name})
	return errors.As(err, new(*sharedbase.QuarantinedError))
}

func damaged(err error) bool {
	return errors.As(err, new(*format.DamageError)) || errors.Is(err, sharedbase.ErrOtherImage)
}

// compare opens an image and reports whether it is the whole image that was packed,
// by its header, its hash function, and objects: ids, or some if there are
// none. It returns the objects.
func (r *round) compare(ctx context.Context, open func(context.Context, string) (pool.Image, error), img image,
	ids []sharedbase.ObjID) (_ []sharedbase.ObjID, err error) {
	src, err := open(ctx, img.Name)
	if err != nil {
		return ids, err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	for range attempts {
		if ids, err = r.compareOnce(ctx, src, img, ids); !damaged(err) {
			break
		}
	}
	return ids, err
}

func (r *round) compareOnce(ctx context.Context, src pool.Image, img image, ids []sharedbase.ObjID) ([]sharedbase.ObjID, error) {
	reader, err := r.Pools[img.Pool].Format().Open(src, src.Size(), img.Name)
	if err != nil {
		return ids, err
	}
	if err := r.Base.CheckImage(ctx, img.ID, reader.Info().Objects, reader.Fingerprint()); err != nil {
		return ids, err
	}
	if ids == nil {
		if ids, err = reader.Pick(ctx, sample); err != nil {
			return nil, err
		}
	}
	for _, id := range ids {
		if err := r.object(ctx, reader, img, id); err != nil {
			return ids, err
		}
	}
	r.fill(ctx, img, reader.CacheHead)
	return ids, nil
}

// fill keeps the hash function of an image for the readers of this host. Where the disk of
// the cache hangs, it gives up soon, and keeps none until that disk has answered: no image
// is mapped or recorded later for that.
func (r *round) fill(ctx context.Context, img image, head func() []byte) {
	anyImage := hang.Place{}
	if r.Hashes == nil || r.filling.Hangs(anyImage) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, r.ImageTimeout/4)
	defer cancel()
	_, left, _ := hang.Call(ctx, 0, func(context.Context) (struct{}, error) {
		r.Hashes.Fill(img.Pool, img.Name, head)
		return struct{}{}, nil
	})
	r.filling.Add(anyImage, left)
}

// object reports whether an object of an image is damaged. One that is damaged
// counts if the index has it there: a cleaner that is erasing it, or died over
// that, leaves it so for any time, but it was marked before.
func (r *round) object(ctx context.Context, reader format.Reader, img image, id sharedbase.ObjID) error {
	_, err := reader.Check(ctx, id)
	if errors.Is(err, format.ErrNotFound) {
		return nil
	}
	if !damaged(err) {
		return err
	}
	statuses, lookErr := r.Base.ObjectStatuses(ctx, img.ID, []sharedbase.ObjID{id})
	if lookErr != nil || statuses[0].Present {
		return errors.Join(err, lookErr)
	}
	return nil
}

// watched calls do with the pool of an image. The context of do ends when a call of the pool
// has not returned for ImageTimeout, however long all calls take: objects of a sample may be
// large, and a store slow. Where do does not hear its context, because a call hangs in a
// device or a library, it is left behind, and noted in hanging.
func (r *round) watched(ctx context.Context, img image, do func(context.Context, pool.Pool) error) error {
	at := hang.Place{Pool: img.Pool, Image: img.Name}
	_, err := hang.Watch(ctx, r.ImageTimeout, &r.hanging, at, func(ctx context.Context, begin hang.Begin) (struct{}, error) {
		return struct{}{}, do(ctx, r.Pools.Observed(begin)[img.Pool])
	})
	if _, silent := errors.AsType[*hang.SilentError](err); silent {
		err = fmt.Errorf("the image does not answer: %w", err)
	}
	return err
}

// limited calls do, a single call of a pool, within ImageTimeout. Where do does not hear its context, because a
// call hangs in a device or a library, it is left behind, and noted in hanging.
func (r *round) limited(ctx context.Context, at hang.Place, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, r.ImageTimeout)
	defer cancel()
	_, left, err := hang.Call(ctx, r.ImageTimeout/4, func(ctx context.Context) (struct{}, error) { return struct{}{}, do(ctx) })
	if left != nil {
		r.hanging.Add(at, left)
		what := "the store of pool " + at.Pool
		if at.Image != "" {
			what = fmt.Sprintf("image %s of pool %s", at.Image, at.Pool)
		}
		err = fmt.Errorf("%s does not answer; see the kernel's log and the state of the store: %w", what, err)
	}
	return err
}
