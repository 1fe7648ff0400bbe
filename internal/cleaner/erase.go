// SPDX-License-Identifier: GPL-3.0-or-later

package cleaner

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"winery/format"
	"winery/internal/pace"
	"winery/internal/storage"
	"winery/pool"
	"winery/sharedbase"
)

const (
	// eraseBatchSize is how many marks, and how many notes, make a batch.
	eraseBatchSize = 1000
	// erasedPerCommit is the same where a pool writes the whole image for a batch.
	erasedPerCommit = 100 * eraseBatchSize
	// maxUnreadable is after how many objects that cannot be read an image is left.
	maxUnreadable = 1000
	// imageConcurrency is how many images of a pool are erased in at the same time.
	imageConcurrency = 4
	// inFlight is how many reads or writes are in flight in each image.
	inFlight = 16
)

// EraseDeleted erases the objects that are marked deleted, and returns how many
// were erased, also if it fails. It skips an image that another process has claimed.
// One that a client without a claim can write to is a failure, which names the client;
// a failure does not stop the remaining images, unless the database is unavailable.
// It stops soon after ctx ends: a later call, by any cleaner, completes an interrupted
// batch.
func (c *Cleaner) EraseDeleted(ctx context.Context) (erased int64, err error) {
	r := c.newRound(Erasing)
	var gone atomic.Int64
	var outage atomic.Bool
	var pools sync.WaitGroup
	for name := range c.Pools {
		pools.Go(func() {
			shards, err := c.Base.ShardsToErase(ctx, name)
			if err != nil {
				r.note(err)
			}
			var images errgroup.Group
			images.SetLimit(imageConcurrency)
			for _, s := range shards {
				images.Go(func() error {
					if outage.Load() || !r.canBegin(s) {
						return nil
					}
					if err := c.eraseIn(ctx, s, &gone); err != nil {
						r.fail(s, err)
						if c.outage(ctx, err) {
							outage.Store(true)
						}
					}
					return nil
				})
			}
			_ = images.Wait()
		})
	}
	pools.Wait()
	return gone.Load(), errors.Join(r.errs...)
}

// eraseIn erases the deleted objects of one shard, and adds their number to erased.
func (c *Cleaner) eraseIn(ctx context.Context, s sharedbase.Shard, erased *atomic.Int64) error {
	var gone atomic.Int64 // until the work is left behind, where it is
	err := c.Base.WithImage(ctx, s.Name, func(ctx context.Context, claim *sharedbase.ImageClaim) error {
		if c.Pools[claim.Pool()] == nil {
			return nil // moved there since
		}
		_, err := limited(ctx, c, Erasing, claim, func(ctx context.Context, pools storage.Set) (struct{}, error) {
			return struct{}{}, c.eraseImage(ctx, claim, pools[claim.Pool()], &gone)
		})
		return c.quarantineIfDamaged(ctx, claim.ID(), claim.Pool(), err)
	})
	if errors.Is(err, sharedbase.ErrImageClaimed) { // pool.ErrInUse stays: only a person can end a use without a claim
		c.Log.Debug("image is claimed by another process", "shard", s.Name, "err", err)
		if c.Claimed != nil {
			c.Claimed(s.Name)
		}
		err = nil
	}
	if n := gone.Load(); n > 0 {
		erased.Add(n)
		c.Log.Info("deleted objects erased", "shard", s.Name, "pool", s.Pool, "objects", n)
	}
	return err
}

// eraseImage erases batch after batch, and counts the objects in gone. The erasure of each
// batch is durable.
func (c *Cleaner) eraseImage(ctx context.Context, claim *sharedbase.ImageClaim, p pool.Pool, gone *atomic.Int64) (err error) {
	c.report(Erasing, claim.Name())
	// With another hash function an object could be taken for absent.
	err = pace.ReadImage(ctx, p, p.Open, claim.Name(), nil, func(r format.Reader) error {
		return c.Base.CheckImage(ctx, claim.ID(), r.Info().Objects, r.Fingerprint())
	})
	if err != nil {
		return err
	}
	e, err := p.Edit(ctx, claim.Name(), claim)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	e = erasing{e, ctx, func(bytes int) { c.Metrics.Overwritten(claim.Pool(), bytes) }}
	batchSize := eraseBatchSize
	if !e.InPlace() {
		batchSize = erasedPerCommit
	}
	left := &format.UnreadableError{Image: claim.Name()}
	err = c.eraseBatches(ctx, claim, p, e, batchSize, left, gone)
	return errors.Join(left.OrNil(), err)
}

// eraseBatches erases batch after batch, until only objects are left that cannot be read, or
// many of those.
func (c *Cleaner) eraseBatches(ctx context.Context, claim *sharedbase.ImageClaim, p pool.Pool, e pool.Editor,
	batchSize int, left *format.UnreadableError, gone *atomic.Int64) error {
	for len(left.IDs) < maxUnreadable {
		ids, err := c.Base.DeletedObjects(ctx, claim.ID(), batchSize+len(left.IDs))
		if err != nil {
			return err
		}
		if ids = left.Others(ids); len(ids) == 0 {
			return nil
		}
		c.report(Erasing, claim.Name())
		done, err := c.eraseBatch(ctx, claim, p, e, ids, left)
		if err != nil {
			return err
		}
		for some := range slices.Chunk(done, eraseBatchSize) {
			n, err := claim.RecordErased(ctx, some)
			gone.Add(n)
			c.Metrics.Erased(claim.Pool(), n)
			if err != nil || n == 0 {
				return err
			}
		}
	}
	return nil
}

// erasing is an image whose overwritten bytes are counted, and that is not written to once
// ctx has ended: the claim may be another cleaner's by then.
type erasing struct {
	pool.Editor
	ctx         context.Context
	overwritten func(bytes int)
}

func (e erasing) WriteAt(b []byte, off int64) (int, error) {
	if err := e.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := e.Editor.WriteAt(b, off)
	e.overwritten(n)
	return n, err
}

// eraseBatch erases objects from an image, once their marks are durable, and reads
// the image that other processes now see. It returns those that are gone: all but those that
// cannot be read, which it adds to left. After an error, none may be gone.
func (c *Cleaner) eraseBatch(ctx context.Context, claim *sharedbase.ImageClaim, p pool.Pool, e pool.Editor,
	ids []sharedbase.ObjID, left *format.UnreadableError) (done []sharedbase.ObjID, err error) {
	if err := c.Base.WaitDurable(ctx); err != nil {
		return nil, err
	}
	if err := claim.Verify(ctx); err != nil {
		return nil, err
	}
	_, err = p.Format().Erase(ctx, e, e.Size(), claim.Name(), inFlight, ids)
	if unreadable, partly := errors.AsType[*format.UnreadableError](err); partly {
		left.Add(unreadable.Err, unreadable.IDs...)
		ids, err = unreadable.Others(ids), nil
	}
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	if err := e.Commit(ctx); err != nil {
		return nil, err
	}
	return ids, c.checkGone(ctx, claim, p, ids)
}

// checkGone requires that the image, as it is in the store now, does not have objects.
func (c *Cleaner) checkGone(ctx context.Context, claim *sharedbase.ImageClaim, p pool.Pool, ids []sharedbase.ObjID) error {
	return pace.ReadImage(ctx, p, p.Open, claim.Name(), nil, func(r format.Reader) error {
		checks, ctx := errgroup.WithContext(ctx)
		checks.SetLimit(inFlight)
		for _, id := range ids {
			checks.Go(func() error {
				_, err := r.Check(ctx, id)
				if err == nil {
					err = fmt.Errorf("image %s still has object %x", claim.Name(), id)
				}
				if errors.Is(err, format.ErrNotFound) {
					return nil
				}
				return err
			})
		}
		return checks.Wait()
	})
}
