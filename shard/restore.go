// SPDX-License-Identifier: GPL-3.0-or-later

package shard

import (
	"context"
	"errors"
	"fmt"
)

// ErrLayout says that two images do not have the same objects at the same places.
var ErrLayout = errors.New("the images are not laid out alike")

// Restore writes objects that are damaged in img anew: length, content and index
// entry, from another copy of the same image. It skips those that the copy does not
// have, or not whole, and returns how many it wrote; where the copy cannot be read, it
// stops and returns the error. Header, hash function
// and the entries of all other objects must be the same in both, but for
// entries that are damaged, or whose object is erased in one of the two, else
// ErrLayout and nothing is written. Restoring again is harmless; what was
// written is flushed.
func Restore(ctx context.Context, img Image, size int64, name string, from *Reader, ids []ObjID) (restored int, err error) {
	r, err := Open(img, size, name)
	if err != nil {
		return 0, err
	}
	if r.Info() != from.Info() || r.Fingerprint() != from.Fingerprint() {
		return 0, fmt.Errorf("%w: header and hash function differ", ErrLayout)
	}
	if err := r.sameEntries(ctx, from, ids); err != nil {
		return 0, err
	}
	e := eraser{Reader: r, img: img}
	buf := make([]byte, blockSize)
	for _, id := range ids {
		var size int64
		slot, position, err := from.locate(id, buf)
		if err == nil {
			size, err = from.checkObject(ctx, id, position, buf)
		}
		// Not where it is the copy that cannot be read.
		if errors.Is(err, ErrNotFound) || errors.As(err, new(*DamageError)) {
			continue
		}
		if err == nil {
			err = e.copy(from, position, lengthSize+size, buf)
		}
		if err == nil { // no entry before what it leads to
			err = img.Flush()
		}
		if err == nil {
			entry := newEntry(id, uint64(position))
			err = e.write(entry[:], r.slotOffset(slot))
		}
		if err != nil {
			return restored, err
		}
		restored++
	}
	return restored, img.Flush()
}

// sameEntries requires that the entries of all objects but ids are the same.
func (r *Reader) sameEntries(ctx context.Context, other *Reader, ids []ObjID) error {
	own, err := r.Inventory(ctx)
	if err != nil {
		return err
	}
	defer own.Close()
	for i := range ids {
		own.slots.entries[r.hash.slot(&ids[i])] = unused
	}
	return other.scanAll(ctx, func(slot int64, e *entry, damage error) error {
		mine := own.slots.entries[slot]
		if damage == nil && mine != unused && mine != *e {
			return fmt.Errorf("%w: objects %x at %d and %x at %d", ErrLayout, mine.key(), mine.position(), e.key(), e.position())
		}
		return nil
	})
}

// RestoreHead writes header and hash function anew, from another copy of the same
// image, which the caller knows by its Fingerprint to be one. It is flushed.
func RestoreHead(img Image, from *Reader) error {
	e := eraser{Reader: from, img: img}
	buf := make([]byte, blockSize)
	info := from.Info()
	if err := e.copy(from, info.HashPosition, info.Size-info.HashPosition, buf); err != nil {
		return err
	}
	if err := e.copy(from, 0, headerSize, buf); err != nil {
		return err
	}
	return img.Flush()
}

// copy copies n bytes at a position from another image.
func (e *eraser) copy(from *Reader, at, n int64, buf []byte) error {
	for end := at + n; at < end; {
		block := buf[:min(int64(len(buf)), end-at)]
		if err := from.read(block, at); err != nil {
			return err
		}
		if err := e.write(block, at); err != nil {
			return err
		}
		at += int64(len(block))
	}
	return nil
}
