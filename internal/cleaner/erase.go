// SPDX-License-Identifier: GPL-3.0-or-later

package cleaner

import (
	"context"
	"errors"
	"fmt"

	"winery/pool"
	"winery/shard"
	"winery/sharedbase"
)

// EraseDeleted makes the objects that are marked deleted vanish, and returns
// how many are gone for good. Those of an image that somebody else is erasing
// in are left to them; what fails does not stop the rest.
func (c *Cleaner) EraseDeleted(ctx context.Context) (erased int64, err error) {
	var errs []error
	for name := range c.Pools {
		for deleted, err := range c.Base.DeletedObjects(ctx, name) {
			if err != nil {
				errs = append(errs, err)
				break
			}
			s := deleted.Shard
			if s.Pool != name {
				continue // moved there this moment
			}
			c.report(Erasing, s.Name)
			gone, err := c.erase(ctx, s, deleted.IDs)
			if errors.Is(err, pool.ErrInUse) {
				c.Log.Debug("another cleaner has the image", "shard", s.Name)
				continue
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("erasing %d deleted objects of shard %s: %w", len(deleted.IDs), s.Name, err))
				continue
			}
			if gone > 0 {
				erased += gone
				c.Log.Info("deleted objects erased", "shard", s.Name, "pool", name, "objects", gone)
			}
		}
	}
	return erased, errors.Join(errs...)
}

// erase erases objects of a shard from its image, where it has one, and then
// from the index, which keeps those of a shard whose image is being made. It
// returns how many are gone for good.
func (c *Cleaner) erase(ctx context.Context, s sharedbase.Shard, ids []sharedbase.ObjID) (gone int64, err error) {
	if s.State.ImageAvailable() {
		if err := c.Base.WaitDurable(ctx); err != nil {
			return 0, err
		}
		if err := c.eraseImage(ctx, s, ids); err != nil {
			return 0, c.suspect(ctx, s.ID, s.Pool, err)
		}
	}
	return c.Base.CleanDeletedObjects(ctx, s, ids)
}

// eraseImage erases objects from a shard's image and reads it again to be sure.
func (c *Cleaner) eraseImage(ctx context.Context, s sharedbase.Shard, ids []sharedbase.ObjID) error {
	p, name := c.Pools[s.Pool], s.Name
	// With another hash function an object could be taken for absent.
	err := read(ctx, p, name, func(r *shard.Reader) error {
		return c.Base.CheckImage(ctx, s.ID, r.Info().Objects, r.Fingerprint())
	})
	if err != nil {
		return err
	}
	if err := edit(ctx, p, name, ids); err != nil {
		return err
	}
	return read(ctx, p, name, func(r *shard.Reader) error {
		for _, id := range ids {
			_, err := r.Get(id)
			if err == nil {
				err = fmt.Errorf("image %s has object %x still", name, id)
			}
			if !errors.Is(err, shard.ErrNotFound) {
				return err
			}
		}
		return nil
	})
}

func edit(ctx context.Context, p pool.Pool, name string, ids []sharedbase.ObjID) (err error) {
	e, err := p.Edit(ctx, name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	_, err = shard.Erase(e, e.Size(), name, ids)
	return err
}
