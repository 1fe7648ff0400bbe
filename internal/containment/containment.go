// SPDX-License-Identifier: GPL-3.0-or-later

// Package containment decides whether an image may be replaced: only if every
// object in it is contained in what remains.
//
// An image without a header was never finished, and nothing depends on it. In any
// other image, each object must be
//
//   - in what replaces the image, with its SHA-256; or
//   - marked deleted in the image's shard, or noted to be erased from its image
//     (package sharedbase keeps mark and note until the shard is packed); or
//   - present in another shard.
//
// An image that has a header but cannot be read completely proves nothing, and is
// not replaced; except by a repair, whose reason is that damage.
//
// The image's index is held in memory, 40 bytes an object outside Go's heap, as
// much as writing an image takes. What replaces the image is read once, in its own
// order. Only the objects that it does not have are looked up in the database, in
// batches.
package containment

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"winery/format"
	"winery/internal/progress"
	"winery/sharedbase"
)

const (
	batchSize = 1000   // objects looked up in one query
	maxLost   = 10_000 // after which no further one is looked for
)

// ErrNotContained is what every refusal to replace an image matches.
var ErrNotContained = errors.New("the image may hold the only copy of an object")

// Replacement is what would replace the image of a shard.
type Replacement struct {
	Base    *sharedbase.SharedBase
	ShardID int64
	Shard   string
	Format  format.Format // of the image
	// Keys yields the objects that the replacement holds, in any order.
	Keys iter.Seq2[sharedbase.ObjID, error]
	// Repair means that the image is known to be damaged: parts that cannot be
	// read do not count.
	Repair bool
	// Progress is told of each batch of objects that was looked up in the
	// database. May be nil.
	Progress *progress.Meter
}

// LossError says that objects would be lost with an image. Nothing was replaced.
type LossError struct {
	Shard   string
	Objects int              // that would be lost
	More    bool             // there may be more
	First   sharedbase.ObjID // one of them
}

func (e *LossError) Error() string {
	count := fmt.Sprint(e.Objects)
	if e.More {
		count = "at least " + count
	}
	return fmt.Sprintf("the pool has an image of shard %s with %s objects that its replacement would lose, first %x: "+
		"the new image does not have them, and the index does not record their deletion. Nothing was replaced. "+
		"If the database is older than the image, restored from a backup for example, run `wineryctl index reconcile`",
		e.Shard, count, e.First)
}

// Unwrap makes the error match ErrNotContained.
func (e *LossError) Unwrap() error { return ErrNotContained }

// Contains returns nil only if nothing is lost with the image that exists, which
// has size bytes. It returns *LossError, or ErrNotContained with *format.DamageError
// where the image cannot be read.
func (r Replacement) Contains(ctx context.Context, existing io.ReaderAt, size int64) error {
	unfinished, err := r.Format.Unfinished(existing, size, r.Shard)
	if err != nil || unfinished {
		return err
	}
	image, err := r.Format.Open(existing, size, r.Shard)
	if err != nil {
		return r.unreadable(err)
	}
	for _, err := range image.Keys(ctx) {
		if err != nil {
			if err := r.unreadable(err); err != nil {
				return err
			}
			break
		}
	}
	inventory, err := image.Inventory(ctx)
	if err != nil {
		return err
	}
	defer inventory.Close()
	for id, err := range r.Keys {
		if err != nil {
			return err
		}
		inventory.Mark(id)
	}
	return r.accountFor(ctx, inventory.Unmarked())
}

// unreadable is what an error of the image means: nothing, where damage is what the
// replacement repairs.
func (r Replacement) unreadable(err error) error {
	if !errors.As(err, new(*format.DamageError)) {
		return err
	}
	if r.Repair {
		return nil
	}
	return fmt.Errorf("the pool has an entry named shard %s that may be an image, and cannot be read. "+
		"Nothing was replaced; if it is not needed, remove it: %w: %w", r.Shard, ErrNotContained, err)
}

// accountFor looks objects up that the replacement does not have.
func (r Replacement) accountFor(ctx context.Context, objects iter.Seq[sharedbase.ObjID]) error {
	loss := &LossError{Shard: r.Shard}
	for some := range chunks(objects, batchSize) {
		lost, err := r.lost(ctx, some)
		if err != nil {
			return err
		}
		if r.Progress != nil {
			r.Progress.Add(0)
		}
		if loss.Objects == 0 && len(lost) > 0 {
			loss.First = lost[0]
		}
		if loss.Objects += len(lost); loss.Objects > maxLost {
			loss.More = true
			break
		}
	}
	if loss.Objects > 0 {
		return loss
	}
	return r.Base.WaitDurable(ctx) // what excuses the others must not be undone
}

// lost returns those of ids that nothing accounts for.
func (r Replacement) lost(ctx context.Context, ids []sharedbase.ObjID) (lost []sharedbase.ObjID, err error) {
	statuses, err := r.Base.ObjectStatuses(ctx, r.ShardID, ids)
	if err != nil {
		return nil, err
	}
	at, err := r.Base.Locate(ctx, ids)
	if err != nil {
		return nil, err
	}
	for i, id := range ids {
		elsewhere := at[i].ShardID != 0 && at[i].ShardID != r.ShardID
		if !statuses[i].Erasing && !elsewhere {
			lost = append(lost, id)
		}
	}
	return lost, nil
}

// chunks are slices of up to n objects.
func chunks(objects iter.Seq[sharedbase.ObjID], n int) iter.Seq[[]sharedbase.ObjID] {
	return func(yield func([]sharedbase.ObjID) bool) {
		var some []sharedbase.ObjID
		for id := range objects {
			if some = append(some, id); len(some) == n {
				if !yield(some) {
					return
				}
				some = some[:0]
			}
		}
		if len(some) > 0 {
			yield(slices.Clip(some))
		}
	}
}
