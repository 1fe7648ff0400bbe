// SPDX-License-Identifier: GPL-3.0-or-later

package importer

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"winery/format"
	"winery/internal/inventory"
	"winery/internal/pace"
	"winery/pool"
	"winery/sharedbase"
)

// removeBatchSize is how many objects are removed from the index in one transaction.
const removeBatchSize = 1000

// Compared is what was found of a packed shard whose image was erased in, or migrated, after
// the backup.
type Compared struct {
	Absent []sharedbase.ObjID // objects of the index that the image does not have, in their order
	Pool   pool.Pool          // that has the image
}

// RemoveErased compares the index with the image of a packed shard, and removes from the
// index the objects that the image does not have, if the shard is readonly: they were erased
// after the backup from which the database was restored. As long as the index has them, a
// client that stores them again is told that they are stored. If the pool of a readonly shard
// does not have the image, or is not one of pools, RemoveErased looks for the image in the
// others, verifies it, and moves the shard there: it was migrated after the backup. With dryRun
// it changes nothing.
//
// It reads the index in the image and the keys of the shard in the database, and contents only
// of a migrated image. It takes 40 bytes of memory for each object of the image, and 32 for each
// object that is absent.
//
// Nothing is changed where the image does not tell what it has: *format.DamageError,
// sharedbase.ErrOtherImage where it is not the recorded one, as after a migration to a pool of
// another format, pool.ErrNotFound. Nor where the shard's table may have the objects: the error
// names the cure.
func (i *Importer) RemoveErased(ctx context.Context, pools []pool.Pool, s sharedbase.Shard, dryRun bool) (done Compared, err error) {
	done, err = i.compare(ctx, pools, s, dryRun)
	switch {
	case err != nil:
		return Compared{}, err
	case len(done.Absent) == 0 && done.Pool.Name() == s.Pool, dryRun && s.State == sharedbase.StateReadOnly:
		return done, nil
	case s.State != sharedbase.StateReadOnly:
		return Compared{}, fmt.Errorf("the shard is %s, and its image does not have %d objects of the index, the first is %x: "+
			"run `wineryctl verify --repair --shard %s`, which makes the image again from the table", s.State, len(done.Absent), done.Absent[0], s.Name)
	}
	err = i.Base.WithImageForRepair(ctx, s.Name, func(ctx context.Context, claim *sharedbase.ImageClaim) (err error) {
		if claim.Pool() != s.Pool {
			return fmt.Errorf("shard %s: %w: it is in pool %s", s.Name, sharedbase.ErrMoved, claim.Pool())
		}
		if done.Pool.Name() != s.Pool { // whoever wrote the image must not be able to change it any more
			locked, err := done.Pool.Edit(ctx, s.Name, claim)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, locked.Close()) }()
		}
		// Again, now that no other process can restore an object in the image.
		if done, err = i.compare(ctx, pools, s, true); err != nil {
			return err
		}
		for some := range slices.Chunk(done.Absent, removeBatchSize) {
			if _, err := claim.RemoveAbsent(ctx, some); err != nil {
				return err
			}
		}
		if done.Pool.Name() == s.Pool {
			return nil
		}
		return claim.MoveShard(ctx, done.Pool.Name(), nil)
	})
	if err != nil {
		return Compared{}, err
	}
	return done, nil
}

// compare finds the image of a shard in pools, and compares the index with it. With whole, it
// reads all of a migrated image.
func (i *Importer) compare(ctx context.Context, pools []pool.Pool, s sharedbase.Shard, whole bool) (done Compared, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("the image was not compared with the index: %w; see `wineryctl verify --shard %s`", err, s.Name)
		}
	}()
	err = fmt.Errorf("pool %s is not configured", s.Pool)
	if own := slices.IndexFunc(pools, func(p pool.Pool) bool { return p.Name() == s.Pool }); own >= 0 {
		done, err = i.compareIn(ctx, pools[own], s, false)
		if !errors.Is(err, pool.ErrNotFound) {
			return done, err
		}
	}
	if s.State != sharedbase.StateReadOnly {
		return done, err
	}
	migrated, failure := i.migrated(ctx, pools, s)
	if migrated == nil {
		return done, cmp.Or(failure, err)
	}
	return i.compareIn(ctx, migrated, s, whole)
}

// compareIn compares the index with the image in a pool. With whole, it verifies the image first.
func (i *Importer) compareIn(ctx context.Context, p pool.Pool, s sharedbase.Shard, whole bool) (done Compared, err error) {
	done.Pool = p
	read := func(r format.Reader) (err error) {
		done.Absent, err = i.absent(ctx, s, r)
		return err
	}
	if whole {
		return done, i.withVerifiedImage(ctx, p, s.Name, read)
	}
	if err := pace.ReadImage(ctx, p, p.Open, s.Name, i.Rate, read); err != nil {
		return done, fmt.Errorf("pool %s: %w", p.Name(), err)
	}
	return done, nil
}

// migrated returns the only pool beside a shard's own that has a finished image of it; nil if
// none has.
func (i *Importer) migrated(ctx context.Context, pools []pool.Pool, s sharedbase.Shard) (found pool.Pool, err error) {
	for _, p := range pools {
		if p.Name() == s.Pool {
			continue
		}
		finished, err := inventory.Finished(ctx, p, s.Name)
		switch {
		case errors.Is(err, pool.ErrNotFound):
		case err != nil:
			return nil, fmt.Errorf("pool %s: %w", p.Name(), err)
		case finished && found != nil:
			return nil, fmt.Errorf("pool %s does not have the image, and both %s and %s have one: run the command with a configuration that leaves out the one that is out of use",
				s.Pool, found.Name(), p.Name())
		case finished:
			found = p
		}
	}
	return found, nil
}

// absent returns the objects that the index has present in a shard, and that its image does
// not have, in their order.
func (i *Importer) absent(ctx context.Context, s sharedbase.Shard, r format.Reader) (absent []sharedbase.ObjID, err error) {
	if err := i.Base.CheckImage(ctx, s.ID, r.Info().Objects, r.Fingerprint()); err != nil {
		return nil, err
	}
	has, err := r.Inventory(ctx)
	if err != nil {
		return nil, err
	}
	defer has.Close()
	for id, err := range i.Base.PresentObjects(ctx, s.ID, 0) {
		if err != nil {
			return nil, err
		}
		if !has.Mark(id) {
			absent = append(absent, id)
		}
	}
	slices.SortFunc(absent, func(a, b sharedbase.ObjID) int { return bytes.Compare(a[:], b[:]) })
	return absent, wholeIndex(ctx, r, absent)
}

// wholeIndex returns nil if there are objects that an image does not have, and no damage of
// its index, which hides what it has, is the reason.
func wholeIndex(ctx context.Context, r format.Reader, absent []sharedbase.ObjID) error {
	if len(absent) == 0 {
		return nil
	}
	for _, err := range r.Keys(ctx) {
		if err != nil {
			return err
		}
	}
	return nil
}
