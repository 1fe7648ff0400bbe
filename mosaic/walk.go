// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic

import (
	"context"
	"encoding/binary"
)

// tile is a tile in an image.
type tile struct {
	start, end int64
	crcAt      int64 // its CRC32 element
	crc        uint32
}

// eachTile calls fn for each tile in order. It reads their heads only.
func (r *Reader) eachTile(ctx context.Context, fn func(tile) error) error {
	buf := make([]byte, maxHead+crcLength)
	for at := r.layout.tiles; at < r.layout.index; {
		in := span{Reader: r, buf: buf, next: at, end: min(r.layout.index, at+int64(len(buf)))}
		t, err := in.tile(ctx)
		if err == nil {
			err = fn(t)
		}
		if err != nil {
			return err
		}
		at = t.end
	}
	return nil
}

// tile takes what precedes the elements of a tile.
func (s *span) tile(ctx context.Context) (t tile, err error) {
	t.start = s.at()
	h, err := s.head(ctx, s.layout.index)
	if err != nil {
		return t, err
	}
	t.crcAt = s.at()
	t.end = t.crcAt + h.size
	b, err := s.peek(ctx, crcLength)
	if err != nil {
		return t, err
	}
	if h.id != idTile || h.size < crcLength || len(b) < crcLength || b[0] != byte(idCRC32) || b[1] != 0x80|4 {
		return t, s.damaged(t.start, "no tile with a checksum")
	}
	t.crc = binary.LittleEndian.Uint32(b[2:])
	err = s.skip(ctx, crcLength)
	s.crc = 0
	return t, err
}

// checksum is one that an image has, and the one of its bytes as they are.
type checksum struct{ stored, now uint32 }

// indexSum reads the whole index, calls fn for each entry, as stored, and returns the checksum.
// What fn changes is what the checksum is made of.
func (r *Reader) indexSum(ctx context.Context, fn func(slot int64, stored []byte) error) (sum checksum, err error) {
	l := &r.layout
	part := func(at, end int64) ([]byte, error) {
		b := make([]byte, end-at)
		return b, r.read(b, at)
	}
	before, err := part(l.indexCRC, l.unrolled)
	if err != nil {
		return sum, err
	}
	sum.stored = binary.LittleEndian.Uint32(before[2:])
	sum.now = updateCRC(0, before[crcLength:])
	err = r.scanSlots(ctx, 0, l.slots, scanBytes, func(slot int64, stored []byte) error {
		if err := fn(slot, stored); err != nil {
			return err
		}
		sum.now = updateCRC(sum.now, stored)
		return nil
	})
	if err != nil {
		return sum, err
	}
	after, err := part(l.tail, l.end)
	sum.now = updateCRC(sum.now, after)
	return sum, err
}
