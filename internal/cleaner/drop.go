// SPDX-License-Identifier: GPL-3.0-or-later

package cleaner

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"winery/internal/imagebuild"
	"winery/internal/scrub"
	"winery/internal/storage"
	"winery/pool"
	"winery/sharedbase"
)

// DropTables drops the table of every shard whose image enough hosts have mapped.
// worked says whether any table was dropped. A failure does not stop the
// remaining shards, unless the database is unavailable: the error joins the failures
// of all shards.
func (c *Cleaner) DropTables(ctx context.Context) (worked bool, err error) {
	filter := sharedbase.ShardFilter{States: []sharedbase.ShardState{sharedbase.StatePacked}}
	if len(c.Pools) == 1 {
		filter.Pool = slices.Collect(maps.Keys(c.Pools))[0]
	}
	packed, err := c.Base.ListShards(ctx, filter)
	r := c.newRound(Dropping)
	for _, s := range packed {
		if c.Pools[s.Pool] == nil || len(s.MappedOn) < c.MinMappedHosts || !r.canBegin(s) {
			continue
		}
		c.report(Dropping, s.Name)
		dropped := false
		err := c.Base.Droppable(ctx, s.Name) // else the image would be read in vain, repeatedly
		if err == nil {
			dropped, err = c.Base.WithOneShard(ctx, sharedbase.StatePacked, sharedbase.StateCleaning,
				sharedbase.ClaimFilter{Name: s.Name, MinMappedHosts: c.MinMappedHosts}, c.drop)
		}
		if err != nil {
			r.fail(s, err)
			if c.outage(ctx, err) {
				break
			}
			continue
		}
		worked = worked || dropped
	}
	return worked, errors.Join(err, errors.Join(r.errs...))
}

// drop checks the shard again, and then drops its table.
func (c *Cleaner) drop(ctx context.Context, claim *sharedbase.Claim) error {
	if err := c.check(ctx, claim); err != nil {
		return fmt.Errorf("nothing was dropped: %w", c.quarantineIfDamaged(ctx, claim.ID(), claim.Pool(), err))
	}
	if err := c.stillThere(ctx, claim); err != nil {
		return fmt.Errorf("nothing was dropped: %w", err)
	}
	if err := claim.DropTable(ctx); err != nil {
		return err
	}
	c.Log.Info("table dropped", "shard", claim.Name(), "pool", claim.Pool())
	return nil
}

// stillThere opens the image once more: the check may have taken hours, and the
// pool may have been unmounted meanwhile.
func (c *Cleaner) stillThere(ctx context.Context, claim *sharedbase.Claim) error {
	_, err := limited(ctx, c, Dropping, claim, func(ctx context.Context, pools storage.Set) (struct{}, error) {
		img, err := pools[claim.Pool()].Open(ctx, claim.Name())
		if err != nil {
			return struct{}{}, err
		}
		return struct{}{}, img.Close()
	})
	return err
}

// check requires of a shard what the package comment says.
func (c *Cleaner) check(ctx context.Context, claim *sharedbase.Claim) error {
	report, err := limited(ctx, c, Dropping, claim, func(ctx context.Context, pools storage.Set) (scrub.Report, error) {
		image := scrub.Scrubber{Base: c.Base, Pools: pools, NoTable: true, Rate: c.Rate}
		return image.Scrub(ctx, claim.Name())
	})
	if err != nil {
		return err
	}
	for _, f := range report.Findings {
		switch {
		case f.Kind.AllowsDrop():
			c.Log.Warn("the image has objects that the index does not have", "shard", claim.Name(), "finding", f.Text)
		case f.Kind == scrub.ImageMissing: // its directory may not be mounted, say
			return fmt.Errorf("%s: %w", f.Text, pool.ErrNotFound)
		case f.Kind == scrub.ReadsDiffer: // this host, or its way to the store, may be at fault
			return fmt.Errorf("%s: %s", f.Kind, f.Text)
		default:
			return fmt.Errorf("%w: %s: %s", errMismatch, f.Kind, f.Text)
		}
	}
	if report.Incomplete {
		return fmt.Errorf("%w: %d findings, and there may be more", errMismatch, len(report.Findings))
	}
	return c.count(ctx, claim)
}

// count requires that the table has what the index has, and the image what the
// table has. A table that is gone has nothing to be compared, or lost: a cleaner of Python
// Winery drops it in one transaction, and makes the shard READONLY in the next.
func (c *Cleaner) count(ctx context.Context, claim *sharedbase.Claim) error {
	c.Progress.Unmeasured(imagebuild.Counting, claim.Name(), imagebuild.CountingLimit)
	defer c.report(Dropping, claim.Name())
	table, _, err := c.Base.TableSize(ctx, claim.Name())
	gone := errors.Is(err, sharedbase.ErrNoTable)
	if err != nil && !gone {
		return err
	}
	index, err := c.Base.CountObjects(ctx, claim.Name())
	if err != nil {
		return err
	}
	if gone {
		table = index
	}
	record, found, err := c.Base.ImageRecord(ctx, claim.ID())
	if err != nil {
		return err
	}
	if index > table || found && table > record.Objects {
		return fmt.Errorf("%w: the index has %d objects, the table has %d, the image was packed with %d; "+
			"expected index <= table <= image", errMismatch, index, table, record.Objects)
	}
	return nil
}
