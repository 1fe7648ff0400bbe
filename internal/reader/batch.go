// SPDX-License-Identifier: GPL-3.0-or-later

package reader

import (
	"context"
	"errors"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"winery/pool"
	"winery/sharedbase"
)

// maxConcurrent is how many objects of a batch are read concurrently.
const maxConcurrent = 64

// Found is what a batch has for one object.
type Found struct {
	Content []byte // not nil unless there is an error
	Err     error  // as of Get: ErrNotFound, *CorruptError and others
}

// GetBatch reads the objects ids, and returns them in the same order. An object
// that cannot be read, or looked up, does not fail the others; the call fails if the database or the
// store of a pool is unavailable, or ctx ends. Before contents are read, GetBatch calls admit, if it
// is not nil, with the sum of their sizes, and returns its error, unless the sum is
// wrong, see admitAll. It does not read an object whose size it could not read.
func (r *Reader) GetBatch(ctx context.Context, ids []sharedbase.ObjID, admit Admit) ([]Found, error) {
	found := make([]Found, len(ids))
	at, err := r.locateAll(ctx, ids, found)
	if err != nil {
		return nil, err
	}
	if admit != nil {
		if err := r.admitAll(ctx, ids, at, found, admit); err != nil {
			return nil, err
		}
	}
	room := semaphore.NewWeighted(r.images.memorySize)
	err = each(ctx, at, found, func(ctx context.Context, i int) (err error) {
		found[i].Content, err = r.contentWithin(ctx, room, ids[i], at[i])
		return err
	})
	return found, err
}

// contentWithin is content that waits until a large object has room among those of the
// same batch that are being read: a batch may be larger than Options.Memory.
func (r *Reader) contentWithin(ctx context.Context, room *semaphore.Weighted, id sharedbase.ObjID, at sharedbase.Location) ([]byte, error) {
	var held int64
	defer func() { room.Release(held) }()
	return r.content(ctx, id, at, func(bytes int64) error {
		bytes = min(bytes, r.images.memorySize)
		if err := room.Acquire(ctx, bytes); err != nil {
			return err
		}
		held = bytes
		return nil
	})
}

const (
	// lookupsTogether is how many objects of a batch are looked up one after the other:
	// where PostgreSQL waits for its disk, the parts of a batch do so at the same time.
	lookupsTogether = 128
	// partsWaiting is how many such parts of a batch are looked up or wait at once: the
	// lookups of others wait for these, and not for the whole batch.
	partsWaiting = maxRounds
)

// locateAll looks up the objects of a batch. The errors of single objects are those of found.
func (r *Reader) locateAll(ctx context.Context, ids []sharedbase.ObjID, found []Found) ([]sharedbase.Location, error) {
	at := make([]sharedbase.Location, len(ids))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(partsWaiting)
	for from := 0; from < len(ids); from += lookupsTogether {
		to := min(from+lookupsTogether, len(ids))
		group.Go(func() error {
			answers, err := r.index.do(ctx, struct{}{}, ids[from:to])
			for i, a := range answers {
				at[from+i], found[from+i].Err = a.value, lookupError(ids[from+i], a.err)
			}
			return err
		})
	}
	return at, group.Wait()
}

// each calls read concurrently for each object that has no error yet, and keeps its
// error in found. It ends early, with an error of read, where the database or a pool's store
// is unavailable or ctx ended.
func each(ctx context.Context, at []sharedbase.Location, found []Found, read func(ctx context.Context, i int) error) error {
	// Shard by shard, so that a batch that is spread over more shards than
	// images are kept open opens each once.
	var order []int
	for i := range found {
		if found[i].Err == nil {
			order = append(order, i)
		}
	}
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(at[a].Shard, at[b].Shard) })
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxConcurrent)
	for _, i := range order {
		group.Go(func() error {
			found[i].Err = read(ctx, i)
			return ofAll(ctx, found[i].Err)
		})
	}
	return group.Wait()
}

// ofAll returns an error of one object if it fails the whole batch.
func ofAll(ctx context.Context, err error) error {
	away := errors.Is(err, sharedbase.ErrUnavailable) && !sharedbase.Unreadable(err) || errors.Is(err, pool.ErrUnavailable)
	if err != nil && (away || ctx.Err() != nil) {
		return err
	}
	return nil
}
