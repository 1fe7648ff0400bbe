// SPDX-License-Identifier: GPL-3.0-or-later

package migrator

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"math"

	"golang.org/x/sync/errgroup"

	"winery/format"
	"winery/internal/pace"
	"winery/pool"
)

const (
	batch       = 64      // objects that are read at once
	smallObject = 1 << 20 // bytes; larger ones are read one by one
)

// encode makes an image in the new pool's format of the objects of the original,
// durable and visible when it returns without an error.
func (m *Migrator) encode(ctx context.Context, name string, original format.Reader, proof pool.ReplaceProof) (err error) {
	info := original.Info()
	draft, err := m.To.Create(ctx, name, m.To.Format().SizeBound(info.Objects, info.ContentSize), proof)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, draft.Abort(ctx)) }() // nothing after Commit
	w, err := m.To.Format().NewWriter(draft, draft.Size())
	if err != nil {
		return err
	}
	defer w.Close()
	meter, left := m.Progress.NewMeter(Encoding, name, info.ContentSize), info.ContentSize
	add := func(ids []format.ObjID) error {
		contents, err := m.read(ctx, name, original, ids)
		for i := 0; err == nil && i < len(ids); i++ {
			if contents[i] == nil {
				contents[i], err = m.readOne(name, original, ids[i], math.MaxInt64)
			}
			if err == nil {
				err = w.Add(ids[i], int64(len(contents[i])), bytes.NewReader(contents[i]))
				meter.Add(int64(len(contents[i])))
				left -= int64(len(contents[i]))
			}
			contents[i] = nil
		}
		return err
	}
	var ids []format.ObjID
	for id, err := range original.Keys(ctx) {
		if err != nil {
			return fmt.Errorf("pool %s: %w", m.From.Name(), err)
		}
		if ids = append(ids, id); len(ids) == batch {
			if err := add(ids); err != nil {
				return err
			}
			ids = ids[:0]
		}
	}
	if err := add(ids); err != nil {
		return err
	}
	if _, err := w.Finish(); err != nil {
		return err
	}
	meter.Add(left) // of objects that are erased
	return draft.Commit(pace.Pool(ctx, m.Rate))
}

// read returns the contents of objects; nil for those that are not small.
func (m *Migrator) read(ctx context.Context, name string, original format.Reader, ids []format.ObjID) ([][]byte, error) {
	contents := make([][]byte, len(ids))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(concurrency)
	for i, id := range ids {
		group.Go(func() (err error) {
			if err := ctx.Err(); err != nil {
				return err
			}
			contents[i], err = m.readOne(name, original, id, smallObject)
			return err
		})
	}
	return contents, group.Wait()
}

// readOne returns the content of an object, or nil if it is larger than atMost.
func (m *Migrator) readOne(name string, original format.Reader, id format.ObjID, atMost int64) ([]byte, error) {
	_, content, err := original.GetUpTo(id, atMost)
	if err == nil && content != nil && sha256.Sum256(content) != id {
		begin, _ := original.EntryRange(id)
		err = &format.DamageError{Image: name, Offset: begin, What: fmt.Sprintf("the content of object %x has a checksum mismatch", id)}
	}
	if err != nil {
		return nil, fmt.Errorf("pool %s: object %x: %w", m.From.Name(), id, err)
	}
	return content, nil
}

// sameObjects requires that a copy in another format has the objects of the original.
func sameObjects(ctx context.Context, original, encoded format.Reader) error {
	inventory, err := encoded.Inventory(ctx)
	if err != nil {
		return err
	}
	defer inventory.Close()
	if err := markAll(inventory, original.Keys(ctx)); err != nil {
		return err
	}
	for range inventory.Unmarked() {
		return errDiffers
	}
	return nil
}

// markAll requires that an image has all of ids.
func markAll(image format.Inventory, ids iter.Seq2[format.ObjID, error]) error {
	for id, err := range ids {
		if err != nil {
			return err
		}
		if !image.Mark(id) {
			return fmt.Errorf("%w: it does not have object %x", errDiffers, id)
		}
	}
	return nil
}
