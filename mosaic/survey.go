// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic

import (
	"context"
)

// survey reads the whole image to find out what an interrupted call left, and the
// checksums and counters that are true once the victims are erased. It makes sure that
// no other object would suffer: the victims are elements of their tiles, no other
// entry leads to them, and no object's bytes are without an entry.
func (e *eraser) survey(ctx context.Context) error {
	t := &table{}
	defer t.Free()
	if err := e.surveyIndex(ctx, t); err != nil {
		return err
	}
	t.sortByPosition()
	s := &surveyor{eraser: e, entries: t.Entries, victims: e.victims, buf: make([]byte, blockSize)}
	if err := e.eachTile(ctx, func(t tile) error { return s.tile(ctx, t) }); err != nil {
		return err
	}
	e.counts = e.metadata.recount(int64(len(t.Entries)-len(e.victims)), s.totalSize)
	return nil
}

// surveyIndex reads the used entries into a table.
func (e *eraser) surveyIndex(ctx context.Context, t *table) error {
	erased := appendEntry(nil, &entry{}, e.layout.offsetSize)
	victims := map[int64]bool{}
	for _, v := range e.victims {
		victims[v.slot] = true
	}
	sum, err := e.indexSum(ctx, func(slot int64, stored []byte) error {
		found, used, err := e.parseEntry(slot, stored)
		switch {
		case err != nil:
			return err
		case used:
			err = t.Append(found)
		case string(stored) != string(erased):
			e.dirty = append(e.dirty, slot)
		}
		if !used || victims[slot] {
			copy(stored, erased)
		}
		return err
	})
	e.checksums = map[int64]uint32{e.layout.indexCRC: sum.now}
	return err
}

// surveyor compares the tiles with the index.
type surveyor struct {
	*eraser
	entries   []entry // of the following tiles
	victims   []victim
	totalSize int64 // of the contents that are not erased
	buf       []byte
}

func (s *surveyor) tile(ctx context.Context, t tile) error {
	in := &span{Reader: s.Reader, buf: s.buf, next: t.start, end: t.end}
	if _, err := in.tile(ctx); err != nil {
		return err
	}
	before, change := len(s.victims), uint32(0)
	for in.at() < t.end {
		changed, err := s.element(ctx, in, t)
		if err != nil {
			return err
		}
		change ^= changed
	}
	if len(s.entries) > 0 && s.entries[0].position < t.end {
		return s.damaged(s.entries[0].position, "an index entry leads into another object")
	}
	if crc := in.crc ^ change; crc != t.crc && (s.incomplete || len(s.victims) < before) {
		s.checksums[t.crcAt] = crc
	}
	return nil
}

// element takes an element, and returns how erasing changes the tile's checksum.
func (s *surveyor) element(ctx context.Context, in *span, t tile) (change uint32, err error) {
	position := in.at()
	owned := false
	if len(s.entries) > 0 && s.entries[0].position <= position {
		if owned = s.entries[0].position == position; !owned {
			return 0, s.damaged(s.entries[0].position, "an index entry leads into another object")
		}
		s.entries = s.entries[1:]
	}
	h, err := in.head(ctx, t.end)
	switch {
	case err != nil:
		return 0, err
	case owned && h.id == idObject && len(s.victims) > 0 && s.victims[0].position == position:
		v := s.victims[0]
		s.victims = s.victims[1:]
		return shift(v.voidCRC(), t.end-v.end()), in.skip(ctx, h.size)
	case owned && h.id == idObject:
		size, known, err := in.size(ctx, h.size)
		s.totalSize += size
		s.unfinished = s.unfinished || !known // until it is repaired, nothing can be counted
		return 0, err
	case !owned && h.id == idObject && s.incomplete:
		s.orphans = append(s.orphans, position)
		id := updateCRC(noBytes, []byte{byte(idObject) ^ byte(idVoid)})
		return shift(remainder(id), t.end-position-1), in.zeros(ctx, h.size)
	case !owned && h.id == idVoid:
		return 0, in.zeros(ctx, h.size)
	}
	return 0, s.damaged(position, "an element of type %x", uint32(h.id))
}

// size takes the n stored bytes of an object, and returns the size of its content: not
// known where the object is damaged.
func (s *span) size(ctx context.Context, n int64) (size int64, known bool, err error) {
	first, err := s.peek(ctx, min(frameHead, n))
	if err != nil {
		return 0, false, err
	}
	size, known, err = s.decoder.size(n, first)
	if err != nil || known {
		return size, err == nil, s.skip(ctx, n)
	}
	start, crc := s.at(), s.crc
	if _, size, err = s.content(ctx, n); err == nil {
		return size, true, nil
	}
	s.seek(start)
	s.crc = crc
	return 0, false, s.skip(ctx, n)
}
