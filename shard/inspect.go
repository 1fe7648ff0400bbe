// SPDX-License-Identifier: GPL-3.0-or-later

package shard

import (
	"context"
	"errors"
	"iter"

	"winery/format"
)

// Inspect implements [format.Reader]. An entry that is damaged hides which object
// it is of.
func (r *Reader) Inspect(ctx context.Context, progress func(bytes int64), found func(format.Damage) error) (format.Counts, error) {
	v := &verification{Reader: r, Verification: &format.Verification{Progress: progress, Bad: found, Patient: true}}
	return v.run(ctx)
}

// Check implements [format.Reader].
func (r *Reader) Check(ctx context.Context, id format.ObjID) (size int64, err error) {
	buf := make([]byte, sampleBuffer)
	_, position, err := r.locate(id, buf)
	if err != nil {
		return 0, err
	}
	return r.checkObject(ctx, id, position, buf)
}

// pickEntries is how many entries Pick reads at first in each part of the index.
const pickEntries = 100

// Pick implements [format.Reader]. Where a part of the index has few objects, it reads
// that part in ever larger blocks.
func (r *Reader) Pick(ctx context.Context, n int) ([]format.ObjID, error) {
	var ids []format.ObjID
	for i := range int64(n) {
		first, end := i*r.info.IndexSlots/int64(n), (i+1)*r.info.IndexSlots/int64(n)
		err := r.scanSlots(ctx, first, end, pickEntries, func(_ int64, e *entry, damage error) error {
			if damage != nil {
				return damage
			}
			ids = append(ids, e.key())
			return errPicked
		})
		if err != nil && !errors.Is(err, errPicked) {
			return ids, err
		}
	}
	return ids, nil
}

var errPicked = errors.New("one object is enough")

// EntryRange implements [format.Reader].
func (r *Reader) EntryRange(id format.ObjID) (begin, end int64) {
	begin = r.slotOffset(r.hash.slot(&id))
	return begin, begin + entrySize
}

// inventory is a [format.Inventory] of 40 bytes a slot, outside Go's heap.
type inventory struct {
	*Reader
	slots  table
	marked []bool
}

// Inventory implements [format.Reader].
func (r *Reader) Inventory(ctx context.Context) (format.Inventory, error) {
	i, err := r.inventory(ctx)
	if err != nil {
		return nil, err
	}
	return i, nil
}

func (r *Reader) inventory(ctx context.Context) (*inventory, error) {
	i := &inventory{Reader: r, marked: make([]bool, r.info.IndexSlots)}
	err := i.slots.Reserve(int(r.info.IndexSlots))
	for err == nil && int64(len(i.slots.Entries)) < r.info.IndexSlots {
		err = i.slots.Append(unused)
	}
	if err == nil {
		err = r.scanAll(ctx, func(slot int64, e *entry, damage error) error {
			if damage == nil {
				i.slots.Entries[slot] = *e
			}
			return nil
		})
	}
	if err != nil {
		i.Close()
		return nil, err
	}
	return i, nil
}

func (i *inventory) Mark(id format.ObjID) bool {
	slot := i.hash.slot(&id)
	if id == (format.ObjID{}) || i.slots.Entries[slot].key() != id {
		return false
	}
	i.marked[slot] = true
	return true
}

func (i *inventory) Unmarked() iter.Seq[format.ObjID] {
	return func(yield func(format.ObjID) bool) {
		for slot := range i.slots.Entries {
			if e := &i.slots.Entries[slot]; *e != unused && !i.marked[slot] && !yield(e.key()) {
				return
			}
		}
	}
}

func (i *inventory) Close() { i.slots.Free() }
