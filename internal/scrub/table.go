// SPDX-License-Identifier: GPL-3.0-or-later

package scrub

import (
	"context"
	"slices"

	"winery/internal/pace"
	"winery/sharedbase"
)

// hashBatchSize is how many rows the server hashes in one query.
const hashBatchSize = 100

// table requires of each object that the index has in the shard a row with its
// SHA-256. The keys are read first, 32 bytes each in memory, so that no
// snapshot of the database is held for as long as the contents take.
func (p *pass) table(ctx context.Context) error {
	ids, err := p.present(ctx)
	if err != nil {
		return err
	}
	total := int64(0)
	if p.Progress != nil {
		if _, total, err = p.Base.TableSize(ctx, p.shard.Name); err != nil {
			return err
		}
	}
	p.progress = p.Progress.NewMeter(VerifyingTable, p.shard.Name, total)
	for some := range slices.Chunk(ids, hashBatchSize) {
		if err := p.rows(ctx, some); err != nil {
			return err
		}
	}
	return nil
}

// present lists the objects of the shard that are to be checked.
func (p *pass) present(ctx context.Context) (ids []sharedbase.ObjID, err error) {
	for id, err := range p.Base.PresentObjects(ctx, p.shard.ID, p.Sample) {
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// rows checks some objects.
func (p *pass) rows(ctx context.Context, ids []sharedbase.ObjID) error {
	sums, err := p.Base.RowSums(ctx, p.shard.Name, ids)
	if err != nil {
		return err
	}
	bytes := int64(0)
	candidates := map[sharedbase.ObjID]sharedbase.RowSum{}
	for i, row := range sums {
		bytes += row.Size
		if !row.Found || row.Sum != ids[i] {
			candidates[ids[i]] = row
		}
	}
	p.objects += int64(len(ids))
	p.read(bytes)
	// A deletion removes the index row first, in one transaction.
	err = p.eachStatus(ctx, keys(candidates), func(id sharedbase.ObjID, is sharedbase.ObjectStatus) error {
		switch row := candidates[id]; {
		case !is.Present:
			return nil
		case !row.Found:
			return p.find(NotInTable, id, "object %x is in the index, but not in the shard's table", id)
		default:
			return p.find(RowDamaged, id, "object %x in the shard's table has a checksum mismatch: %d bytes with SHA-256 %x", id, row.Size, row.Sum)
		}
	})
	if err != nil {
		return err
	}
	return pace.Wait(ctx, p.Rate, bytes)
}

// eachStatus looks objects up in the index, and calls fn for each.
func (p *pass) eachStatus(ctx context.Context, ids []sharedbase.ObjID, fn func(sharedbase.ObjID, sharedbase.ObjectStatus) error) error {
	for some := range slices.Chunk(ids, batchSize) {
		found, err := p.Base.ObjectStatuses(ctx, p.shard.ID, some)
		if err != nil {
			return err
		}
		for i, is := range found {
			if err := fn(some[i], is); err != nil {
				return err
			}
		}
	}
	return nil
}
