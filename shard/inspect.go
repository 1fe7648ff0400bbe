// SPDX-License-Identifier: GPL-3.0-or-later

package shard

import (
	"context"
	"errors"
	"iter"
)

// Damage is one damage of an image.
type Damage struct {
	ID ObjID // the object that cannot be read; zero where the damage is not one object's
	*DamageError
}

// Inspect reads the whole image as Verify does and goes on after damage, which
// it hands to found, one call at a time; an error of found ends it and is
// returned. Each object is judged by itself: one that is well is not blamed for
// a neighbour. An entry that is damaged hides which object it is of. Bytes that
// are no object's are reported only where no damage explains them. Counts are
// of what is well.
func (r *Reader) Inspect(ctx context.Context, progress func(bytes int64), found func(Damage) error) (Counts, error) {
	v := &verification{Reader: r, progress: progress, bad: found, patient: true}
	return v.run(ctx)
}

// Check reads one object and returns its size: ErrNotFound, or a *DamageError
// where its content has not its id for SHA-256. It takes flat memory, however
// large the object says that it is.
func (r *Reader) Check(ctx context.Context, id ObjID) (size int64, err error) {
	buf := make([]byte, sampleBuffer)
	_, position, err := r.locate(id, buf)
	if err != nil {
		return 0, err
	}
	return r.checkObject(ctx, id, position, buf)
}

// pickEntries is how many entries Pick reads at first in each part of the index.
const pickEntries = 100

// Pick returns the ids of up to n objects spread over the index. Where a part of
// the index has few objects, it reads that part in ever larger blocks.
func (r *Reader) Pick(ctx context.Context, n int) ([]ObjID, error) {
	var ids []ObjID
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

// EntryOffset is where the entry of an object lies, EntrySize bytes, if the image has the object.
func (r *Reader) EntryOffset(id ObjID) int64 { return r.slotOffset(r.hash.slot(&id)) }

// Inventory is the index of an image in memory, to be compared with another
// list of its objects: 40 bytes a slot, outside Go's heap. Damaged entries are
// left out. It is for one goroutine.
type Inventory struct {
	*Reader
	slots  *table
	ticked []bool
}

// Inventory reads the index. The caller closes what it returns.
func (r *Reader) Inventory(ctx context.Context) (*Inventory, error) {
	i := &Inventory{Reader: r, slots: newTable(), ticked: make([]bool, r.info.IndexSlots)}
	err := i.slots.reserve(int(r.info.IndexSlots))
	for err == nil && int64(len(i.slots.entries)) < r.info.IndexSlots {
		err = i.slots.append(unused)
	}
	if err == nil {
		err = r.scanAll(ctx, func(slot int64, e *entry, damage error) error {
			if damage == nil {
				i.slots.entries[slot] = *e
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

// Tick ticks an object off. False: the image does not hold it.
func (i *Inventory) Tick(id ObjID) bool {
	slot := i.hash.slot(&id)
	if id == (ObjID{}) || i.slots.entries[slot].key() != id {
		return false
	}
	i.ticked[slot] = true
	return true
}

// Unticked yields the objects that nobody ticked off.
func (i *Inventory) Unticked() iter.Seq[ObjID] {
	return func(yield func(ObjID) bool) {
		for slot := range i.slots.entries {
			if e := &i.slots.entries[slot]; *e != unused && !i.ticked[slot] && !yield(e.key()) {
				return
			}
		}
	}
}

// Close frees the memory.
func (i *Inventory) Close() { i.slots.free() }
