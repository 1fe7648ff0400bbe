// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic

import (
	"bytes"
	"context"

	"winery/format"
)

// Element returns where an object's element is, and its content begins and ends.
func (r *Reader) Element(id format.ObjID) (position, start, end int64, err error) {
	_, position, err = r.locate(id, make([]byte, maxEntry))
	if err != nil {
		return 0, 0, 0, err
	}
	b := make([]byte, min(maxHead, r.layout.index-position))
	if err := r.read(b, position); err != nil {
		return 0, 0, 0, err
	}
	o, err := r.parseObject(b, position, r.layout.index)
	return o.position, o.start, o.end(), err
}

// Parts returns where the metadata, the tiles, the index, its entries and their tail begin.
func (r *Reader) Parts() (metadata, tiles, index, entries, tail int64) {
	l := r.layout
	return l.start, l.tiles, l.index, l.unrolled, l.tail
}

// TileHeads returns where what precedes the elements of each tile begins and ends.
func (r *Reader) TileHeads(ctx context.Context) (heads [][2]int64, err error) {
	err = r.eachTile(ctx, func(t tile) error {
		heads = append(heads, [2]int64{t.start, t.crcAt + crcLength})
		return nil
	})
	return heads, err
}

// Dictionary returns the dictionary, nil where the image has none.
func (r *Reader) Dictionary() []byte { return r.metadata.dictionary }

// IndexCRC returns where the checksum of the index is.
func (r *Reader) IndexCRC() (begin, end int64) {
	return r.layout.indexCRC + crcLength - 4, r.layout.indexCRC + crcLength
}

// CRC is the checksum of bytes.
func CRC(p []byte) uint32 { return updateCRC(0, p) }

// SharedBy is sharedBy.
const SharedBy = sharedBy

// Fit is fit.
var Fit = fit

// Holds is Reader.holds.
func Holds(r *Reader, frame, content []byte) bool { return r.holds(frame, content) }

// RepairChecksums makes the checksums of the metadata and of the perfect hash right, if
// they can be found.
func RepairChecksums(image []byte) {
	r := &Reader{src: bytes.NewReader(image)}
	if _, err := r.readHeader(int64(len(image))); err == nil {
		copy(image[r.layout.start:], appendCRC(nil, updateCRC(0, image[r.layout.start+crcLength:r.layout.tiles])))
	}
	at := bytes.LastIndex(image, []byte{0x60, 0x04})
	if at < 0 {
		return
	}
	if h, err := parseHead(image[at:]); err == nil && h.size == int64(len(image)-at)-h.length && h.size > crcLength {
		start := at + int(h.length)
		copy(image[start:], appendCRC(nil, updateCRC(0, image[start+crcLength:])))
	}
}
