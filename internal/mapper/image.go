// SPDX-License-Identifier: GPL-3.0-or-later

package mapper

import (
	"context"
	"errors"
	"fmt"
	"time"

	"winery/pool"
	"winery/shard"
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
	if err := check(ctx, src, img.Name); err != nil || img.recorded {
		return err
	}
	_, err = r.Base.RecordShardMapped(ctx, r.host, img.Name)
	return err
}

// check tells whether src reads as a whole image.
func check(ctx context.Context, src pool.Image, name string) error {
	reader, err := shard.Open(src, src.Size(), name)
	if err != nil {
		return err
	}
	return reader.Sample(ctx, sample)
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
