// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic

import (
	"context"
	"errors"
	"sort"
	"sync"

	"winery/format"
)

// sampleBuffer is what Check reads of an object at once.
const sampleBuffer = 64 << 10

// Verify implements [format.Reader]. Every byte of the tiles must belong to an object
// or to one that was erased, and every checksum must be right. It takes 16 MiB, and
// 40 bytes an object, outside Go's heap, and what decompression takes.
func (r *Reader) Verify(ctx context.Context, progress func(bytes int64)) (format.Counts, error) {
	v := &verification{Reader: r, Verification: format.Strict(progress)}
	return v.run(ctx)
}

// verification is a reading of the whole image.
type verification struct {
	*Reader
	*format.Verification

	mu    sync.Mutex
	found findings // under mu
}

// findings counts what the tiles hold.
type findings struct{ objects, bytes int64 }

func (v *verification) run(ctx context.Context) (format.Counts, error) {
	t := &table{}
	defer t.Free()
	if err := v.entries(ctx, t); err != nil {
		return format.Counts{}, err
	}
	used := int64(len(t.Entries))
	t.sortByPosition()
	if err := v.tiles(ctx, t.Entries); err != nil {
		return format.Counts{}, err
	}
	var err error
	if m := &v.metadata; v.Damages == 0 && !v.incomplete && (m.objects != v.found.objects || m.totalSize != v.found.bytes) {
		err = v.Between(v.damaged(v.layout.start+atCounter, "%d objects of %d bytes are counted, there are %d of %d",
			m.objects, m.totalSize, v.found.objects, v.found.bytes))
	}
	if err == nil {
		err = v.End()
	}
	return format.Counts{Objects: v.found.objects, Deleted: v.layout.slots - used, Bytes: v.found.bytes}, err
}

// entries reads the index into a table.
func (v *verification) entries(ctx context.Context, t *table) error {
	sum, err := v.indexSum(ctx, func(slot int64, stored []byte) error {
		e, used, damage := v.parseEntry(slot, stored)
		switch {
		case damage != nil:
			return v.Blame(format.ObjID{}, damage)
		case used:
			return t.Append(e)
		}
		return nil
	})
	if err == nil && !v.incomplete && sum.now != sum.stored {
		return v.Between(v.damaged(v.layout.indexCRC, "the index has a checksum mismatch"))
	}
	return err
}

// extent is a tile, with the objects that the index has in it. What is no tile has
// only objects.
type extent struct {
	start, end int64
	entries    []entry
	loose      bool // where tiles cannot be told apart
}

// tiles reads all objects, given in the order of their positions.
func (v *verification) tiles(ctx context.Context, entries []entry) error {
	split := func(ctx context.Context, out chan<- extent) error { return v.split(ctx, entries, out) }
	return format.Extents(ctx, split, func(ctx context.Context, x extent, buf []byte) error {
		var found findings
		err := v.extent(ctx, x, buf, &found)
		v.mu.Lock()
		defer v.mu.Unlock()
		v.found.objects += found.objects
		v.found.bytes += found.bytes
		return err
	})
}

// split sends the tiles.
func (v *verification) split(ctx context.Context, entries []entry, out chan<- extent) error {
	send := func(x extent) error {
		n := sort.Search(len(entries), func(i int) bool { return entries[i].position >= x.end })
		x.entries, entries = entries[:n], entries[n:]
		select {
		case out <- x:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	last := v.layout.tiles
	err := v.eachTile(ctx, func(t tile) error {
		last = t.end
		return send(extent{start: t.start, end: t.end})
	})
	if err != nil {
		if err := v.Between(err); err != nil {
			return err
		}
		return send(extent{start: last, end: v.layout.index, loose: true})
	}
	return nil
}

// extent reads a tile.
func (v *verification) extent(ctx context.Context, x extent, buf []byte, found *findings) error {
	in := &span{Reader: v.Reader, buf: buf, next: x.start, end: x.end, report: v.Report}
	if x.loose {
		return v.loose(ctx, x.entries, found)
	}
	t, err := in.tile(ctx)
	sound := err == nil
	if err != nil {
		return err
	}
	for entries := x.entries; in.at() < x.end || len(entries) > 0; {
		at, next := in.at(), x.end
		if len(entries) > 0 && entries[0].position < at { // within another element
			if err := v.loose(ctx, entries[:1], found); err != nil {
				return err
			}
			entries = entries[1:]
			continue
		}
		if len(entries) > 0 && entries[0].position > at {
			next = entries[0].position
			if err := in.erased(ctx, next); err != nil {
				if err := v.Between(err); err != nil {
					return err
				}
				sound = false
				in.seek(next)
			}
			continue
		}
		if len(entries) == 0 {
			if err := in.erased(ctx, next); err != nil {
				return v.Between(err)
			}
			continue
		}
		if len(entries) > 1 {
			next = entries[1].position
		}
		size, err := in.object(ctx, entries[0].id, next)
		if err != nil {
			sound = false
			if size, err = v.alone(ctx, entries[0], err); err != nil {
				return err
			}
			in.seek(max(next, at+1))
		}
		if size >= 0 {
			found.objects++
			found.bytes += size
		}
		entries = entries[1:]
	}
	if sound && !v.incomplete && t.crc != in.crc {
		return v.Between(v.damaged(t.crcAt, "the tile has a checksum mismatch"))
	}
	return nil
}

// loose reads objects one by one.
func (v *verification) loose(ctx context.Context, entries []entry, found *findings) error {
	for _, e := range entries {
		size, err := v.checkObject(ctx, e.id, e.position, make([]byte, sampleBuffer))
		switch {
		case err != nil:
			err = v.Blame(e.id, err)
		default:
			found.objects++
			found.bytes += size
			err = v.Between(v.damaged(e.position, "object %x is within another element", e.id))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// alone judges an object, which failed with err among its neighbours, by itself.
// Its size is -1 if it is damaged.
func (v *verification) alone(ctx context.Context, e entry, err error) (size int64, _ error) {
	if v.Patient && errors.As(err, new(*format.DamageError)) {
		size, damage := v.checkObject(ctx, e.id, e.position, make([]byte, sampleBuffer))
		if damage == nil {
			return size, v.Between(err)
		}
		err = damage
	}
	return -1, v.Blame(e.id, err)
}

// erased takes an element that is no object's: Void, with zeros, and while an
// erasure is incomplete an object's that the index does not have any more.
func (s *span) erased(ctx context.Context, end int64) error {
	position := s.at()
	h, err := s.head(ctx, end)
	if err != nil {
		return err
	}
	if h.id != idVoid && (h.id != idObject || !s.incomplete) {
		return s.damaged(position, "an element of type %x that the index does not have", uint32(h.id))
	}
	return s.zeros(ctx, h.size)
}

// checkObject checks an object without regard to others, and returns its size.
func (r *Reader) checkObject(ctx context.Context, id format.ObjID, position int64, buf []byte) (int64, error) {
	in := span{Reader: r, buf: buf, next: position, end: r.layout.index}
	return in.object(ctx, id, r.layout.index)
}
