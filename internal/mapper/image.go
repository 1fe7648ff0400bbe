// SPDX-License-Identifier: GPL-3.0-or-later

package mapper

import (
	"context"
	"errors"
	"fmt"
	"time"

	"winery/pool"
	"winery/shard"
	"winery/sharedbase"
)

// sample is how many objects of an image must have their SHA-256.
const sample = 16

// admit maps an image, reads it through the mapping, and records the host.
func (r *round) admit(ctx context.Context, img image) (err error) {
	p := r.Pools[img.Pool]
	if !img.mapped {
		if err := p.Map(ctx, img.Name); err != nil {
			return err
		}
	}
	src, err := p.OpenMapped(ctx, img.Name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	if err := r.check(ctx, src, img); err != nil || img.recorded {
		return err
	}
	_, err = r.Base.RecordShardMapped(ctx, r.host, img.Name)
	return err
}

// looks is how often an image is looked at before it counts as damaged: an
// entry that a cleaner is erasing can look so, once.
const looks = 3

// check tells whether src reads as the whole image that was packed. One that
// does not is quarantined, so that its shard's table stays.
func (r *round) check(ctx context.Context, src pool.Image, img image) error {
	damaged := func(err error) bool {
		return errors.As(err, new(*shard.DamageError)) || errors.Is(err, sharedbase.ErrOtherImage)
	}
	err := r.look(ctx, src, img)
	for n := 1; n < looks && damaged(err); n++ {
		err = r.look(ctx, src, img)
	}
	if damaged(err) {
		r.Metrics.Quarantined("mapper", img.Pool)
		err = errors.Join(err, r.Base.Quarantine(ctx, img.ID, err.Error()))
	}
	return err
}

func (r *round) look(ctx context.Context, src pool.Image, img image) error {
	reader, err := shard.Open(src, src.Size(), img.Name)
	if err != nil {
		return err
	}
	if err := r.Base.CheckImage(ctx, img.ID, reader.Info().Objects, reader.Fingerprint()); err != nil {
		return err
	}
	return r.sample(ctx, reader, img)
}

// sample reads some objects of an image. One that is damaged counts if the index
// has it there: a cleaner that is erasing it, or died over that, leaves it so for
// any time, but it was marked before.
func (r *round) sample(ctx context.Context, reader *shard.Reader, img image) error {
	ids, err := reader.Pick(ctx, sample)
	if err != nil {
		return err
	}
	for _, id := range ids {
		_, err := reader.Check(ctx, id)
		if !errors.As(err, new(*shard.DamageError)) {
			if err != nil && !errors.Is(err, shard.ErrNotFound) {
				return err
			}
			continue
		}
		is, lookErr := r.Base.ObjectStatuses(ctx, img.ID, []sharedbase.ObjID{id})
		if lookErr != nil || is[0].Present {
			return errors.Join(err, lookErr)
		}
	}
	return nil
}

// limited is admit within ImageTimeout. Where admit does not even look at its
// context, because a call hangs in a device or a library, it is left behind:
// hanging then yields its outcome, if ever.
func (r *round) limited(ctx context.Context, img image) (hanging <-chan error, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.ImageTimeout)
	done := make(chan error, 1)
	go func() {
		defer cancel()
		done <- r.admit(ctx, img)
	}()
	select {
	case err := <-done:
		return nil, err
	case <-ctx.Done():
	}
	select { // whoever looks at the context answers soon
	case err := <-done:
		return nil, err
	case <-time.After(r.ImageTimeout / 4):
		return done, fmt.Errorf("no answer; is its device or its pool hanging? (%w)", context.Cause(ctx))
	}
}
