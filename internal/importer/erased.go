// SPDX-License-Identifier: GPL-3.0-or-later

package importer

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"winery/format"
	"winery/internal/pace"
	"winery/pool"
	"winery/sharedbase"
)

// removeBatchSize is how many objects are removed from the index in one transaction.
const removeBatchSize = 1000

// RemoveErased compares the index with the image of a packed shard, and removes from the
// index the objects that the image does not have, if the shard is readonly: they were erased
// after the backup from which the database was restored. As long as the index has them, a
// client that stores them again is told that they are stored. With dryRun it changes nothing.
// It returns the objects, in their order.
//
// It reads the index in the image and the keys of the shard in the database, and no contents,
// and takes 40 bytes of memory for each object of the image, and 32 for each object that is
// absent.
//
// Nothing is removed where the image does not tell what it has: *format.DamageError,
// sharedbase.ErrOtherImage where it is not the recorded one, pool.ErrNotFound. Nor
// where the shard's table may have the objects: the error names the cure.
func (i *Importer) RemoveErased(ctx context.Context, from pool.Pool, s sharedbase.Shard, dryRun bool) (absent []sharedbase.ObjID, err error) {
	absent, err = i.absent(ctx, from, s)
	switch {
	case err != nil || len(absent) == 0:
		return nil, err
	case s.State != sharedbase.StateReadOnly:
		return nil, fmt.Errorf("the shard is %s, and its image does not have %d objects of the index, the first is %x: "+
			"run `wineryctl verify --repair --shard %s`, which makes the image again from the table", s.State, len(absent), absent[0], s.Name)
	case dryRun:
		return absent, nil
	}
	// Again, now that no other process can restore an object in the image.
	err = i.Base.WithImageForRepair(ctx, s.Name, func(ctx context.Context, claim *sharedbase.ImageClaim) error {
		if claim.Pool() != from.Name() {
			return fmt.Errorf("shard %s: %w: it is in pool %s", s.Name, sharedbase.ErrMoved, claim.Pool())
		}
		if absent, err = i.absent(ctx, from, s); err != nil {
			return err
		}
		for some := range slices.Chunk(absent, removeBatchSize) {
			if _, err := claim.RemoveAbsent(ctx, some); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return absent, nil
}

// absent returns the objects that the index has present in a shard, and that its image does
// not have, in their order.
func (i *Importer) absent(ctx context.Context, from pool.Pool, s sharedbase.Shard) (absent []sharedbase.ObjID, err error) {
	err = pace.ReadImage(ctx, from, from.Open, s.Name, i.Rate, func(r format.Reader) error {
		if err := i.Base.CheckImage(ctx, s.ID, r.Info().Objects, r.Fingerprint()); err != nil {
			return err
		}
		inventory, err := r.Inventory(ctx)
		if err != nil {
			return err
		}
		defer inventory.Close()
		for id, err := range i.Base.PresentObjects(ctx, s.ID, 0) {
			if err != nil {
				return err
			}
			if !inventory.Mark(id) {
				absent = append(absent, id)
			}
		}
		return wholeIndex(ctx, r, absent)
	})
	if err != nil {
		return nil, fmt.Errorf("the image was not compared with the index: pool %s: %w; see `wineryctl verify --shard %s`", from.Name(), err, s.Name)
	}
	slices.SortFunc(absent, func(a, b sharedbase.ObjID) int { return bytes.Compare(a[:], b[:]) })
	return absent, nil
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
