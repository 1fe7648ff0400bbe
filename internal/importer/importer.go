// SPDX-License-Identifier: GPL-3.0-or-later

package importer

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/time/rate"

	"winery/format"
	"winery/internal/pace"
	"winery/internal/progress"
	"winery/pool"
	"winery/sharedbase"
)

// Importer imports images. Base must be set. Any number may work at once.
type Importer struct {
	Base *sharedbase.SharedBase
	// Quick checks the index of an image and a sample of its objects, instead
	// of all objects.
	Quick bool
	// Rate limits what is read of images, by all that share it. May be nil.
	Rate *rate.Limiter
	// Progress may be nil.
	Progress progress.Func
}

// Verifying is the task that Progress is told of.
const Verifying progress.Task = "verifying"

// ErrUnfinished: an image was reserved and never written, or its packing or migration was
// interrupted. It was never in use, and has no index from which it could be imported.
var ErrUnfinished = errors.New("the image was never finished")

// sample is how many objects Quick checks.
const sample = 100

// Import makes a shard of an image, and returns how many objects it has and how
// many of them no shard had. *format.DamageError where the image is not whole,
// ErrUnfinished, and sharedbase.ErrExists where the shard is there, in which case the image
// is not read: in each case, and after any other error, nothing was changed.
func (i *Importer) Import(ctx context.Context, from pool.Pool, name string) (done sharedbase.Imported, err error) {
	switch s, err := i.Base.ShardByName(ctx, name); {
	case err == nil && s.State != sharedbase.StateImporting:
		return done, fmt.Errorf("shard %s: %w", name, sharedbase.ErrExists)
	case err != nil && !errors.Is(err, sharedbase.ErrNotFound):
		return done, err
	}
	err = i.withVerifiedImage(ctx, from, name, func(r format.Reader) error {
		record := sharedbase.ImageRecord{Objects: r.Info().Objects, Bytes: r.Info().ContentSize, Fingerprint: r.Fingerprint()}
		done, err = i.Base.ImportShard(ctx, name, from.Name(), record, r.Keys(ctx))
		return err
	})
	return done, err
}

// withVerifiedImage opens an image, checks that it is whole, and calls fn with it.
func (i *Importer) withVerifiedImage(ctx context.Context, from pool.Pool, name string, fn func(format.Reader) error) (err error) {
	img, err := from.Open(ctx, name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, img.Close()) }()
	r, err := open(from, pace.Reader(ctx, img, i.Rate), img.Size(), name)
	if err == nil {
		err = i.check(ctx, r, name)
	}
	if err != nil {
		return fmt.Errorf("pool %s: %w", from.Name(), err)
	}
	return fn(r)
}

// open opens an image that is finished.
func open(from pool.Pool, img io.ReaderAt, size int64, name string) (format.Reader, error) {
	unfinished, err := from.Format().Unfinished(img, size, name)
	if err != nil {
		return nil, err
	}
	if unfinished {
		return nil, fmt.Errorf("image %s: %w", name, ErrUnfinished)
	}
	return from.Format().Open(img, size, name)
}

func (i *Importer) check(ctx context.Context, r format.Reader, name string) error {
	if i.Quick {
		ids, err := r.Pick(ctx, sample)
		for _, id := range ids {
			if err == nil {
				_, err = r.Check(ctx, id)
			}
			if errors.Is(err, format.ErrNotFound) {
				err = nil // erased since
			}
		}
		return err
	}
	_, err := r.Verify(ctx, i.Progress.NewMeter(Verifying, name, r.Info().ObjectsSize).Add)
	return err
}
