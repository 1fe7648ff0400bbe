// SPDX-License-Identifier: GPL-3.0-or-later

package cleaner

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"winery/shard"
	"winery/sharedbase"
)

// sample is how many objects are compared between table and image before the
// table is dropped. The image's keys come in the order of their hashes, so that
// the first ones are a random choice.
const sample = 16

// dropTables drops the tables of all shards whose images are mapped enough.
func (c *Cleaner) dropTables(ctx context.Context) (worked bool, err error) {
	packed, err := c.Base.ListShards(ctx, sharedbase.ShardFilter{
		States: []sharedbase.ShardState{sharedbase.StatePacked},
	})
	errs := []error{err}
	for _, s := range packed {
		if c.Pools[s.Pool] == nil || len(s.MappedOn) < c.MinMappedHosts {
			continue
		}
		c.report(Dropping, s.Name)
		dropped, err := c.Base.WithOneShard(ctx, sharedbase.StatePacked, sharedbase.StateCleaning,
			sharedbase.ClaimFilter{Name: s.Name, MinMappedHosts: c.MinMappedHosts}, c.drop)
		if err != nil {
			errs = append(errs, fmt.Errorf("dropping the table of shard %s: %w", s.Name, err))
			continue
		}
		worked = worked || dropped
	}
	return worked, errors.Join(errs...)
}

// drop compares index, table and image, and then drops the table.
func (c *Cleaner) drop(ctx context.Context, claim *sharedbase.Claim) error {
	look := func() error {
		return read(ctx, c.Pools[claim.Pool()], claim.Name(), func(image *shard.Reader) error {
			return c.check(ctx, claim, image)
		})
	}
	err := look()
	if suspicious(err) { // an entry that is being erased can look damaged, once
		err = look()
	}
	if err != nil {
		return fmt.Errorf("nothing was dropped: %w", c.suspect(ctx, claim.ID(), claim.Pool(), err))
	}
	if err := claim.DropTable(ctx); err != nil {
		return err
	}
	c.Log.Info("table dropped", "shard", claim.Name(), "pool", claim.Pool())
	return nil
}

// check requires of an image what the package comment says.
func (c *Cleaner) check(ctx context.Context, claim *sharedbase.Claim, image *shard.Reader) error {
	name, written := claim.Name(), image.Info().Objects
	if err := c.recorded(ctx, claim.ID(), image); err != nil {
		return err
	}
	table, _, err := c.Base.TableSize(ctx, name)
	if err != nil {
		return err
	}
	index, err := c.Base.CountObjects(ctx, name)
	if err != nil {
		return err
	}
	if index > table || table > written {
		return fmt.Errorf("%w: the index has %d objects, the table %d, the image %d; "+
			"each should have at least as many as the one before", errMismatch, index, table, written)
	}
	return c.compare(ctx, name, image, table)
}

// compare requires that a sample of the table's objects is the same in the
// image, and that the index has no object that only the image has.
func (c *Cleaner) compare(ctx context.Context, name string, image *shard.Reader, table int64) error {
	var same int64
	for id, err := range image.Keys(ctx) {
		if err != nil {
			return err
		}
		equal, err := c.equal(ctx, name, image, id)
		if err != nil {
			return err
		}
		if equal {
			same++
		}
		if same == min(sample, table) {
			return nil
		}
	}
	table, _, err := c.Base.TableSize(ctx, name) // objects may have been deleted since
	if err == nil && same < min(sample, table) {
		err = fmt.Errorf("%w: the table has %d objects, %d of them are in the image", errMismatch, table, same)
	}
	return err
}

// equal tells that an object of the image is the same in the table; false if it
// was deleted.
func (c *Cleaner) equal(ctx context.Context, name string, image *shard.Reader, id sharedbase.ObjID) (bool, error) {
	row, err := c.Base.Content(ctx, name, []sharedbase.ObjID{id})
	if err != nil {
		return false, err
	}
	if row[0] == nil {
		at, err := c.Base.Locate(ctx, []sharedbase.ObjID{id})
		if err == nil && at[0].Shard == name {
			err = fmt.Errorf("%w: the index and the image have object %x, the table has not", errMismatch, id)
		}
		return false, err
	}
	got, err := image.Get(id)
	if err == nil && bytes.Equal(got, row[0]) {
		return true, nil
	}
	again, lookErr := c.Base.Content(ctx, name, []sharedbase.ObjID{id})
	switch {
	case lookErr != nil:
		return false, lookErr
	case again[0] == nil:
		return false, nil // deleted and perhaps erased since
	case err == nil:
		err = fmt.Errorf("%w: object %x differs between table and image", errMismatch, id)
	}
	return false, err
}
