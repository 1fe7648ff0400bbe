// SPDX-License-Identifier: GPL-3.0-or-later

package scrub

import (
	"context"
	"slices"

	"winery/sharedbase"
)

// hashedAtOnce is how many rows the server hashes in one query.
const hashedAtOnce = 100

// table requires of each object that the index has in the shard a row with its
// SHA-256. The keys are read first, 32 bytes each in memory, so that no
// snapshot of the database is held for as long as the contents take.
func (l *look) table(ctx context.Context) error {
	ids, err := l.present(ctx)
	if err != nil {
		return err
	}
	total := int64(0)
	if l.Progress != nil {
		if _, total, err = l.Base.TableSize(ctx, l.shard.Name); err != nil {
			return err
		}
	}
	for some := range slices.Chunk(ids, hashedAtOnce) {
		if err := l.rows(ctx, some, total); err != nil {
			return err
		}
	}
	return nil
}

// present lists the objects of the shard that are to be checked.
func (l *look) present(ctx context.Context) (ids []sharedbase.ObjID, err error) {
	for id, err := range l.Base.PresentObjects(ctx, l.shard.ID, l.Sample) {
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// rows checks some objects.
func (l *look) rows(ctx context.Context, ids []sharedbase.ObjID, total int64) error {
	sums, err := l.Base.RowSums(ctx, l.shard.Name, ids)
	if err != nil {
		return err
	}
	bytes := int64(0)
	suspects := map[sharedbase.ObjID]sharedbase.RowSum{}
	for i, row := range sums {
		bytes += row.Size
		if !row.Found || row.Sum != ids[i] {
			suspects[ids[i]] = row
		}
	}
	l.objects += int64(len(ids))
	l.read(Table, bytes, total)
	// A deletion removes the index row first, in one transaction.
	err = l.standings(ctx, keys(suspects), func(id sharedbase.ObjID, is sharedbase.ObjectStatus) error {
		switch row := suspects[id]; {
		case !is.Present:
			return nil
		case !row.Found:
			return l.find(NotInTable, id, "object %x is in the index, but not in the shard's table", id)
		default:
			return l.find(RowDamaged, id, "object %x in the shard's table has a checksum mismatch: %d bytes with SHA-256 %x", id, row.Size, row.Sum)
		}
	})
	if err != nil {
		return err
	}
	return pace(ctx, l.Rate, bytes)
}

// standings looks objects up in the index, now.
func (l *look) standings(ctx context.Context, ids []sharedbase.ObjID, fn func(sharedbase.ObjID, sharedbase.ObjectStatus) error) error {
	for some := range slices.Chunk(ids, batchSize) {
		found, err := l.Base.ObjectStatuses(ctx, l.shard.ID, some)
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
