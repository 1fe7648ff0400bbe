// SPDX-License-Identifier: GPL-3.0-or-later

// Package imagebuild makes the image of a claimed shard from its table.
package imagebuild

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/time/rate"

	"winery/format"
	"winery/internal/pace"
	"winery/internal/progress"
	"winery/pool"
	"winery/sharedbase"
)

// Job is an image to make. Base, Claim and Pool must be set.
type Job struct {
	Base  *sharedbase.SharedBase
	Claim *sharedbase.Claim
	Pool  pool.Pool
	// Repairs is the claim to the image, where it is made again for a shard that
	// has one: it is damaged, or missing. Nil for a shard that is packed.
	Repairs *sharedbase.ImageClaim
	// Rate limits how fast contents are written, and the image is read back and uploaded.
	// Nil: no limit.
	Rate *rate.Limiter
	// Progress may be nil.
	Progress progress.Func
	// Added is called with the size of each object that is written. May be nil.
	Added func(size int64)
	// Verified is called with the bytes that were read back since its last call. May
	// be nil.
	Verified func(bytes int64)
}

// Made is an image that was made.
type Made struct {
	Record                sharedbase.ImageRecord
	Size                  int64 // of the image, in bytes
	WriteTime, VerifyTime time.Duration
}

// Make writes the image, flushes it, reads the whole image back through a handle
// that bypasses this host's caches, and commits it: readers never find an
// incomplete image. Every object must have the SHA-256 that it is stored under,
// else *format.DamageError, and there must be as many as in the table's snapshot.
// An existing image of the shard's name is replaced if no object is lost: else
// *containment.LossError.
func (j Job) Make(ctx context.Context) (made Made, err error) {
	start := time.Now()
	j.Progress.Unmeasured(Counting, j.Claim.Name(), CountingLimit)
	objects, size, err := j.Base.TableSize(ctx, j.Claim.Name())
	if err != nil {
		return made, err
	}
	j.Progress.NewMeter(Writing, j.Claim.Name(), size).Add(0) // Create may take long
	draft, err := j.Pool.Create(ctx, j.Claim.Name(), j.Pool.Format().SizeBound(objects, size), proof{j, size})
	if err != nil {
		return made, err
	}
	defer func() { err = errors.Join(err, draft.Abort(ctx)) }() // nothing after Commit
	written, err := j.write(ctx, draft, size)
	if err != nil {
		return made, err
	}
	wrote := time.Now()
	if made.Record, err = j.verify(ctx, draft, written); err != nil {
		return made, err
	}
	made.Size, made.WriteTime, made.VerifyTime = written.Size, wrote.Sub(start), time.Since(wrote)
	return made, draft.Commit(pace.Pool(ctx, j.Rate))
}

// write writes the whole image, of size bytes of contents, into the draft.
func (j Job) write(ctx context.Context, draft pool.Draft, size int64) (info format.Info, err error) {
	w, err := j.Pool.Format().NewWriter(draft, draft.Size())
	if err != nil {
		return info, err
	}
	defer w.Close()

	meter := j.Progress.NewMeter(Writing, j.Claim.Name(), size)
	count, err := j.Base.StreamTable(ctx, j.Claim, func(id sharedbase.ObjID, size int64, content io.Reader) error {
		if j.Added != nil {
			j.Added(size)
		}
		return w.Add(id, size, meter.Reader(pace.Stream(ctx, content, j.Rate)))
	})
	if err != nil {
		return info, err
	}
	j.Progress.Unmeasured(Indexing, j.Claim.Name(), indexingLimitBase+time.Duration(count)*indexingLimitObject)
	if info, err = w.Finish(); err != nil {
		return info, err
	}
	if info.Objects != count {
		return info, fmt.Errorf("the image has %d objects, the table's snapshot has %d", info.Objects, count)
	}
	return info, nil
}

// verify reads the whole draft back from the store, and returns the record of the
// image.
func (j Job) verify(ctx context.Context, draft pool.Draft, want format.Info) (image sharedbase.ImageRecord, err error) {
	name := j.Claim.Name()
	img, err := draft.Open(ctx)
	if err != nil {
		return image, err
	}
	defer func() { err = errors.Join(err, img.Close()) }()
	r, err := j.Pool.Format().Open(pace.Reader(ctx, img, j.Rate), img.Size(), name)
	if err != nil {
		return image, err
	}
	meter := j.Progress.NewMeter(Verifying, name, want.ObjectsSize)
	got, err := r.Verify(ctx, func(bytes int64) {
		meter.Add(bytes)
		if j.Verified != nil {
			j.Verified(bytes)
		}
	})
	if err != nil {
		return image, err
	}
	if got.Objects != want.Objects || got.Deleted != 0 {
		return image, fmt.Errorf("%d objects were written to image %s, which has %d", want.Objects, name, got.Objects)
	}
	return sharedbase.ImageRecord{Objects: got.Objects, Bytes: got.Bytes, Fingerprint: r.Fingerprint()}, nil
}
