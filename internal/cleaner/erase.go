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
	"winery/pool"
	"winery/sharedbase"
)

const (
	// erasedAtOnce is how many marks, and how many notes, make a batch.
	erasedAtOnce = 1000
	// erasedPerCommit is the same where a pool writes the whole image for a batch.
	erasedPerCommit = 100 * erasedAtOnce
	// imagesAtOnce is how many images are erased in at the same time.
	imagesAtOnce = 4
	// inFlight is how many reads or writes are in flight in each image.
	inFlight = 16
)

// EraseDeleted erases the objects that are marked deleted, and returns how many
// were erased, also if it fails. It skips an image that another process changes;
// a failure does not stop the remaining images, unless the database is unavailable.
// It stops soon after ctx ends: a later call, by any cleaner, completes an interrupted
// batch.
func (c *Cleaner) EraseDeleted(ctx context.Context) (erased int64, err error) {
	var mu sync.Mutex // for errs and erased
	var errs []error
	fail := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		errs = append(errs, err)
	}
	var outage atomic.Bool
	var images errgroup.Group
	images.SetLimit(imagesAtOnce)
	for name := range c.Pools {
		shards, err := c.Base.ShardsToErase(ctx, name)
		if err != nil {
			fail(err)
		}
		for _, s := range shards {
			images.Go(func() error {
				if outage.Load() {
					return nil
				}
				gone, err := c.eraseIn(ctx, s)
				if err != nil {
					fail(fmt.Errorf("erasing deleted objects of shard %s: %w", s.Name, err))
					if c.outage(ctx, err) {
						outage.Store(true)
					}
				}
				mu.Lock()
				defer mu.Unlock()
				erased += gone
				return nil
			})
		}
	}
	_ = images.Wait()
	return erased, errors.Join(errs...)
}

// eraseIn erases the deleted objects of one shard.
func (c *Cleaner) eraseIn(ctx context.Context, s sharedbase.Shard) (gone int64, err error) {
	err = c.Base.WithImage(ctx, s.Name, func(ctx context.Context, claim *sharedbase.ImageClaim) (err error) {
		if c.Pools[claim.Pool()] == nil {
			return nil // moved there since
		}
		gone, err = c.eraseImage(ctx, claim)
		return c.suspect(ctx, claim.ID(), claim.Pool(), err)
	})
	if errors.Is(err, sharedbase.ErrImageClaimed) || errors.Is(err, pool.ErrInUse) {
		c.Log.Debug("image is claimed by another process", "shard", s.Name, "err", err)
		err = nil
	}
	if gone > 0 {
		c.Log.Info("deleted objects erased", "shard", s.Name, "pool", s.Pool, "objects", gone)
	}
	return gone, err
}

// eraseImage erases batch after batch. The erasure of each batch is durable.
func (c *Cleaner) eraseImage(ctx context.Context, claim *sharedbase.ImageClaim) (gone int64, err error) {
	c.report(Erasing, claim.Name())
	p := c.Pools[claim.Pool()]
	// With another hash function an object could be taken for absent.
	err = pace.ReadImage(ctx, p, p.Open, claim.Name(), nil, func(r format.Reader) error {
		return c.Base.CheckImage(ctx, claim.ID(), r.Info().Objects, r.Fingerprint())
	})
	if err != nil {
		return 0, err
	}
	e, err := p.Edit(ctx, claim.Name(), claim)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	e = measured{e, func(bytes int) { c.Metrics.Overwritten(claim.Pool(), bytes) }}
	atOnce := erasedAtOnce
	if !e.InPlace() {
		atOnce = erasedPerCommit
	}
	for {
		ids, err := c.Base.DeletedObjects(ctx, claim.ID(), atOnce)
		if err != nil || len(ids) == 0 {
			return gone, err
		}
		c.report(Erasing, claim.Name())
		if err := c.eraseBatch(ctx, claim, e, ids); err != nil {
			return gone, err
		}
		for some := range slices.Chunk(ids, erasedAtOnce) {
			n, err := claim.RecordErased(ctx, some)
			gone += n
			c.Metrics.Erased(claim.Pool(), n)
			if err != nil || n == 0 {
				return gone, err
			}
		}
	}
}

// measured is an image whose overwritten bytes are counted.
type measured struct {
	pool.Editor
	overwritten func(bytes int)
}

func (m measured) WriteAt(b []byte, off int64) (int, error) {
	n, err := m.Editor.WriteAt(b, off)
	m.overwritten(n)
	return n, err
}

// eraseBatch erases objects from an image, once their marks are durable, and reads
// the image that other processes now see.
func (c *Cleaner) eraseBatch(ctx context.Context, claim *sharedbase.ImageClaim, e pool.Editor, ids []sharedbase.ObjID) error {
	p := c.Pools[claim.Pool()]
	if err := c.Base.WaitDurable(ctx); err != nil {
		return err
	}
	if err := claim.Verify(ctx); err != nil {
		return err
	}
	if _, err := p.Format().Erase(ctx, e, e.Size(), claim.Name(), inFlight, ids); err != nil {
		return err
	}
	if err := e.Commit(ctx); err != nil {
		return err
	}
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
