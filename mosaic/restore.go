// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"winery/format"
)

// RestoreTo implements [format.Reader]. What Open reads, and the entries of all other
// objects, must be the same in both images, apart from entries that are damaged, or
// whose object is erased in one of the two. An object that was erased in img changes the
// counters: then checksums and counters are declared void first, and computed again in the
// end, from the whole of img.
func (r *Reader) RestoreTo(ctx context.Context, img format.Device, size int64, name string, ids []format.ObjID) (restored int, err error) {
	damaged, err := Open(img, size, name)
	if err != nil {
		return 0, err
	}
	if damaged.Fingerprint() != r.Fingerprint() {
		return 0, fmt.Errorf("%w: metadata and perfect hash differ", format.ErrLayout)
	}
	if err := damaged.sameEntries(ctx, r, ids); err != nil {
		return 0, err
	}
	e := eraser{Reader: damaged, img: img}
	positions := make(map[int64]bool)
	for _, id := range ids {
		position, err := e.restore(ctx, r, id)
		// Not where it is this image that cannot be read.
		if errors.Is(err, format.ErrNotFound) || errors.As(err, new(*format.DamageError)) {
			continue
		}
		if err != nil {
			return restored, err
		}
		positions[position] = true
		restored++
	}
	if restored == 0 {
		return 0, nil
	}
	if e.incomplete {
		if err := img.Flush(); err != nil {
			return restored, err
		}
		_, err := Format{}.Erase(ctx, img, size, name, 1, nil)
		return restored, err
	}
	if err := e.renewIndex(ctx); err != nil {
		return restored, err
	}
	err = r.eachTile(ctx, func(t tile) error {
		for position := range positions {
			if t.start < position && position < t.end {
				crc, err := e.tileCRC(ctx, t, t.end, nil)
				if err != nil {
					return err
				}
				return e.write(appendCRC(nil, crc), t.crcAt)
			}
		}
		return nil
	})
	if err != nil {
		return restored, err
	}
	return restored, img.Flush()
}

// restore copies an object and its entry from another copy, and returns where.
func (e *eraser) restore(ctx context.Context, from *Reader, id format.ObjID) (position int64, err error) {
	buf := make([]byte, blockSize)
	slot, position, err := from.locate(id, buf)
	if err != nil {
		return 0, err
	}
	in := span{Reader: from, buf: buf, next: position, end: from.layout.index}
	if _, err := in.object(ctx, id, from.layout.index); err != nil {
		return 0, err
	}
	if err := e.markErased(ctx, slot); err != nil {
		return 0, err
	}
	if err := format.Copy(from.read, e.write, position, in.at()-position, buf); err != nil {
		return 0, err
	}
	if err := e.img.Flush(); err != nil { // no entry before what it leads to
		return 0, err
	}
	return position, e.write(appendEntry(nil, &entry{id, position}, e.layout.offsetSize), e.layout.slotOffset(slot))
}

// markErased declares checksums and counters void if the object of a slot is erased.
func (e *eraser) markErased(ctx context.Context, slot int64) error {
	var first [1]byte
	if err := e.read(first[:], e.layout.slotOffset(slot)); err != nil || e.incomplete || first[0] != byte(idVoid) {
		return err
	}
	if err := e.markIndex(ctx); err != nil {
		return err
	}
	e.incomplete = true
	return e.img.Flush()
}

// sameEntries requires that the entries of all objects but ids are the same.
func (r *Reader) sameEntries(ctx context.Context, other *Reader, ids []format.ObjID) error {
	own, err := r.inventory(ctx)
	if err != nil {
		return err
	}
	defer own.Close()
	for i := range ids {
		if slot, ok := r.hash.slot(&ids[i]); ok {
			own.slots.Entries[slot] = entry{}
		}
	}
	return other.scan(ctx, func(slot int64, e entry, damage error) error {
		mine := own.slots.Entries[slot]
		if damage == nil && mine != (entry{}) && mine != e {
			return fmt.Errorf("%w: object %x at %d, object %x at %d", format.ErrLayout, mine.id, mine.position, e.id, e.position)
		}
		return nil
	})
}

// tileCRC returns the checksum of a tile in which a new element is written at a position.
func (r *Reader) tileCRC(ctx context.Context, t tile, position int64, element []byte) (uint32, error) {
	buf := make([]byte, blockSize)
	before := &span{Reader: r, buf: buf, next: t.crcAt + crcLength, end: position}
	if err := before.skip(ctx, before.end-before.next); err != nil {
		return 0, err
	}
	after := &span{Reader: r, buf: buf, next: position + int64(len(element)), end: t.end, crc: updateCRC(before.crc, element)}
	err := after.skip(ctx, after.end-after.next)
	return after.crc, err
}

// renewIndex writes the checksum of the index.
func (e *eraser) renewIndex(ctx context.Context) error {
	sum, err := e.indexSum(ctx, func(int64, []byte) error { return nil })
	if err != nil {
		return err
	}
	return e.write(appendCRC(nil, sum.now), e.layout.indexCRC)
}

// fits requires that another image has the index entries of this one, or damaged ones.
func (r *Reader) fits(ctx context.Context, img format.Device) error {
	own, err := r.inventory(ctx)
	if err != nil {
		return err
	}
	defer own.Close()
	other := newReader(img, r.name)
	other.layout, other.hash = r.layout, r.hash
	var check format.LayoutCheck
	err = other.scan(ctx, func(slot int64, e entry, damage error) error {
		mine := own.slots.Entries[slot]
		check.Count(damage == nil && (mine == (entry{}) || mine == e))
		return nil
	})
	return check.Result(err)
}

// RestoreHeadTo implements [format.Reader]: it writes the metadata, and the index but for
// its entries. Where the entries differ, as after other erasures, checksums and
// counters are declared void until the next Erase.
func (r *Reader) RestoreHeadTo(ctx context.Context, img format.Device) error {
	if err := r.fits(ctx, img); err != nil {
		return err
	}
	e := eraser{Reader: r, img: img}
	buf := make([]byte, blockSize)
	l := &r.layout
	same, err := r.sameBytes(img, l.unrolled, l.tail)
	if err != nil {
		return err
	}
	for _, part := range [][2]int64{{l.tail, l.end}, {l.index, l.unrolled}, {0, l.tiles}} {
		if err := format.Copy(r.read, e.write, part[0], part[1]-part[0], buf); err != nil {
			return err
		}
	}
	if !same {
		if err := e.markIndex(ctx); err != nil {
			return err
		}
	}
	return img.Flush()
}

// sameBytes reports whether a range has the same bytes in another copy.
func (r *Reader) sameBytes(other format.Device, at, end int64) (bool, error) {
	a, b := make([]byte, scanBytes), make([]byte, scanBytes)
	theirs := &Reader{src: other, name: r.name}
	for ; at < end; at += scanBytes {
		n := min(scanBytes, end-at)
		if err := errors.Join(r.read(a[:n], at), theirs.read(b[:n], at)); err != nil {
			return false, err
		}
		if !bytes.Equal(a[:n], b[:n]) {
			return false, nil
		}
	}
	return true, nil
}
