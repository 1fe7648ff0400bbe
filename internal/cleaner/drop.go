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
	err := read(ctx, c.Pools[claim.Pool()], claim.Name(), func(image *shard.Reader) error {
		return c.check(ctx, claim.Name(), image)
	})
	if err != nil {
		return fmt.Errorf("nothing was dropped: %w", err)
	}
	if err := claim.DropTable(ctx); err != nil {
		return err
	}
	c.Log.Info("table dropped", "shard", claim.Name(), "pool", claim.Pool())
	return nil
}

// check requires of an image what the package comment says.
func (c *Cleaner) check(ctx context.Context, name string, image *shard.Reader) error {
	written := image.Info().Objects
	table, _, err := c.Base.TableSize(ctx, name)
	if err != nil {
		return err
	}
	index, err := c.Base.CountObjects(ctx, name)
	if err != nil {
		return err
	}
	if index > table || table > written {
		return fmt.Errorf("the index has %d objects, the table %d, the image %d; "+
			"each should have at least as many as the one before", index, table, written)
	}
	return c.compare(ctx, name, image, table, written-table)
}

// compare requires that objects are the same in table and image. table is how
// many there are in the table, deleted how many the image may have beyond them.
func (c *Cleaner) compare(ctx context.Context, name string, image *shard.Reader, table, deleted int64) error {
	var same, only int64
	for id, err := range image.Keys(ctx) {
		if same == min(sample, table) {
			return nil
		}
		if err != nil {
			return err
		}
		row, err := c.Base.Content(ctx, name, []sharedbase.ObjID{id})
		if err != nil {
			return err
		}
		if row[0] == nil {
			if only++; only > deleted {
				return fmt.Errorf("the image has objects that the table lacks, %x among them", id)
			}
			continue
		}
		got, err := image.Get(id)
		if err != nil {
			return err
		}
		if !bytes.Equal(got, row[0]) {
			return fmt.Errorf("object %x differs between table and image", id)
		}
		same++
	}
	if same < min(sample, table) {
		return fmt.Errorf("the table has %d objects, %d of them are in the image", table, same)
	}
	return nil
}
