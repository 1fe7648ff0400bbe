// SPDX-License-Identifier: GPL-3.0-or-later

package shard

import (
	"context"
	"errors"
	"fmt"

	"winery/format"
)

// RestoreTo implements [format.Reader]. Header, hash function and the entries of all
// other objects must be the same in both images, apart from entries that are damaged,
// or whose object is erased in one of the two.
func (r *Reader) RestoreTo(ctx context.Context, img format.Device, size int64, name string, ids []format.ObjID) (restored int, err error) {
	damaged, err := Open(img, size, name)
	if err != nil {
		return 0, err
	}
	if damaged.Fingerprint() != r.Fingerprint() {
		return 0, fmt.Errorf("%w: header and hash function differ", format.ErrLayout)
	}
	if err := damaged.sameEntries(ctx, r, ids); err != nil {
		return 0, err
	}
	e := eraser{Reader: damaged, img: img}
	buf := make([]byte, blockSize)
	for _, id := range ids {
		var size int64
		slot, position, err := r.locate(id, buf)
		if err == nil {
			size, err = r.checkObject(ctx, id, position, buf)
		}
		// Not where it is this image that cannot be read.
		if errors.Is(err, format.ErrNotFound) || errors.As(err, new(*format.DamageError)) {
			continue
		}
		if err == nil {
			err = format.Copy(r.read, e.write, position, lengthSize+size, buf)
		}
		if err == nil { // no entry before what it leads to
			err = img.Flush()
		}
		if err == nil {
			entry := newEntry(id, uint64(position))
			err = e.write(entry[:], damaged.slotOffset(slot))
		}
		if err != nil {
			return restored, err
		}
		restored++
	}
	return restored, img.Flush()
}

// sameEntries requires that the entries of all objects but ids are the same.
func (r *Reader) sameEntries(ctx context.Context, other *Reader, ids []format.ObjID) error {
	own, err := r.inventory(ctx)
	if err != nil {
		return err
	}
	defer own.Close()
	for i := range ids {
		own.slots.Entries[r.hash.slot(&ids[i])] = unused
	}
	return other.scanAll(ctx, func(slot int64, e *entry, damage error) error {
		mine := own.slots.Entries[slot]
		if damage == nil && mine != unused && mine != *e {
			return fmt.Errorf("%w: object %x at %d, object %x at %d", format.ErrLayout, mine.key(), mine.position(), e.key(), e.position())
		}
		return nil
	})
}

// fits requires that another image has the index entries of this one, or damaged ones.
func (r *Reader) fits(ctx context.Context, img format.Device) error {
	own, err := r.inventory(ctx)
	if err != nil {
		return err
	}
	defer own.Close()
	other := newReader(img, r.name)
	other.info, other.hash = r.info, r.hash
	var check format.LayoutCheck
	err = other.scanAll(ctx, func(slot int64, e *entry, damage error) error {
		mine := own.slots.Entries[slot]
		check.Count(damage == nil && (mine == unused || mine == *e))
		return nil
	})
	return check.Result(err)
}

// RestoreHeadTo implements [format.Reader]: it writes header and hash function.
func (r *Reader) RestoreHeadTo(ctx context.Context, img format.Device) error {
	if err := r.fits(ctx, img); err != nil {
		return err
	}
	e := eraser{Reader: r, img: img}
	buf := make([]byte, blockSize)
	if err := format.Copy(r.read, e.write, r.info.HashPosition, r.info.Size-r.info.HashPosition, buf); err != nil {
		return err
	}
	if err := format.Copy(r.read, e.write, 0, headerSize, buf); err != nil {
		return err
	}
	return img.Flush()
}
