// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic

import (
	"context"
	"errors"
	"math/bits"

	"winery/format"
)

// Mend implements [format.Format]. It reads the image twice: whether all objects are
// intact, and where the tiles are, which their elements say without their heads.
func (Format) Mend(ctx context.Context, img format.Device, size int64, name string) (mended bool, err error) {
	r, err := Open(img, size, name)
	if err != nil {
		return false, err
	}
	v := &verification{Reader: r, Verification: &format.Verification{Patient: true}}
	v.Bad = func(d format.Damage) error {
		if d.ID == (format.ObjID{}) && d.DamageError == v.Unexplained {
			return nil
		}
		return d.DamageError
	}
	if _, err := v.run(ctx); err != nil || v.Damages == 0 || r.incomplete {
		return false, err
	}
	m := mender{eraser: eraser{Reader: r, img: img}, buf: make([]byte, blockSize)}
	if err := m.plan(ctx); err != nil {
		return false, err
	}
	for _, w := range m.writes {
		if err := m.write(w.bytes, w.at); err != nil {
			return false, err
		}
	}
	return len(m.writes) > 0, img.Flush()
}

// mender finds out what an image lacks of which all objects are intact.
type mender struct {
	eraser
	buf    []byte
	writes []patch
}

type patch struct {
	at    int64
	bytes []byte
}

// maxBitErrors is how many bits of a head or a checksum may differ from what they must
// be. With more it is not they that are damaged: an object's content can be right although
// a bit of its frame, which this decoder passes over, has flipped.
const maxBitErrors = 4

// expect has bytes written that are not there yet.
func (m *mender) expect(at int64, want []byte) error {
	got := make([]byte, len(want))
	if err := m.read(got, at); err != nil {
		return err
	}
	differ := 0
	for i := range got {
		differ += bits.OnesCount8(got[i] ^ want[i])
	}
	if differ > maxBitErrors {
		return m.damaged(at, "%d bits differ from what the objects tell", differ)
	}
	if differ > 0 {
		m.writes = append(m.writes, patch{at, want})
	}
	return nil
}

// plan compares heads and checksums with what they must be.
func (m *mender) plan(ctx context.Context) error {
	t := &table{}
	defer t.Free()
	sum, err := m.indexSum(ctx, func(slot int64, stored []byte) error {
		e, used, err := m.parseEntry(slot, stored)
		if err == nil && used {
			err = t.Append(e)
		}
		return err
	})
	if err != nil {
		return err
	}
	t.sortByPosition()
	for at, entries := m.layout.tiles, t.Entries; at < m.layout.index; {
		head, end, left, err := m.tile(ctx, at, entries)
		if err != nil {
			return err
		}
		if err := m.expect(at, head); err != nil {
			return err
		}
		at, entries = end, left
	}
	return m.expect(m.layout.indexCRC, appendCRC(nil, sum.now))
}

// tile returns what must be before the elements of the tile at a position, where it ends,
// and the entries that follow.
func (m *mender) tile(ctx context.Context, at int64, entries []entry) (head []byte, end int64, left []entry, err error) {
	for _, length := range []int{4, longSize, 8, 1, 2, 3, 6, 7} { // of the size; the usual ones first
		start := at + 4 + int64(length) + crcLength
		end, crc, left, err := m.elements(ctx, start, entries)
		if err != nil {
			return nil, 0, nil, err
		}
		if end > start && end-start+crcLength < 1<<(7*length) {
			return appendCRC(appendHead(nil, idTile, crcLength+end-start, length), crc), end, left, nil
		}
	}
	return nil, 0, nil, m.damaged(at, "no tile whose elements are those of the index")
}

// elements walks over elements from start to the next tile, or to what may be the
// damaged head of one. It returns start where there are none, or an entry leads elsewhere.
func (m *mender) elements(ctx context.Context, start int64, entries []entry) (end int64, crc uint32, left []entry, err error) {
	in := &span{Reader: m.Reader, buf: m.buf, next: start, end: m.layout.index}
	for in.at() < m.layout.index {
		b, err := in.peek(ctx, min(maxHead, m.layout.index-in.at()))
		if err != nil {
			return 0, 0, nil, err
		}
		h, err := parseHead(b)
		owned := len(entries) > 0 && entries[0].position == in.at()
		if err != nil || h.size > m.layout.index-in.at()-h.length || owned != (h.id == idObject) || !owned && h.id != idVoid {
			break
		}
		if err := in.skip(ctx, h.length); err != nil {
			return 0, 0, nil, err
		}
		if owned {
			entries = entries[1:]
			err = in.skip(ctx, h.size)
		} else {
			err = in.zeros(ctx, h.size)
		}
		if errors.As(err, new(*format.DamageError)) { // zeros that are none
			break
		}
		if err != nil {
			return 0, 0, nil, err
		}
	}
	if len(entries) > 0 && entries[0].position < in.at() {
		return start, 0, nil, nil
	}
	return in.at(), in.crc, entries, nil
}
