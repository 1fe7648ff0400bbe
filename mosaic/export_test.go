// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic

import "winery/format"

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

// CRC is the checksum of bytes.
func CRC(p []byte) uint32 { return updateCRC(0, p) }

// Fit is fit.
var Fit = fit

// Holds is Reader.holds.
func Holds(r *Reader, frame, content []byte) bool { return r.holds(frame, content) }
