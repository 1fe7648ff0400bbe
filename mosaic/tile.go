// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic

import (
	"fmt"
	"io"

	"winery/format"
)

const (
	tileHead = 4 + 4 + crcLength // of a tile: id, size, checksum
	maxSize4 = 1<<28 - 2         // the largest size in 4 bytes
	// A size of 5 bytes is needed only where the largest objects become even larger by
	// compression.
	longSize = 5
)

// tileWriter writes objects into tiles.
type tileWriter struct {
	out        *stream
	place      int64 // of the tile's head, 0 between two tiles
	sizeLength int   // bytes of the tile's size
	start      int64 // where the bytes begin that the checksum covers
	crc        uint32
}

// open begins a tile for an element of up to so many bytes, unless it fits into the
// current one.
func (t *tileWriter) open(element int64) (err error) {
	if t.place != 0 && (t.out.end-t.start >= tileThreshold || t.out.end-t.start+crcLength+element > maxSize4) {
		t.close()
	}
	if t.place != 0 {
		return nil
	}
	t.sizeLength = 4
	if crcLength+element > maxSize4 {
		t.sizeLength = longSize
	}
	t.place, err = t.out.reserve(4 + t.sizeLength + crcLength)
	t.start, t.crc = t.out.end, 0
	return err
}

// close ends the current tile, if any.
func (t *tileWriter) close() {
	if t.place == 0 {
		return
	}
	head := appendHead(nil, idTile, crcLength+t.out.end-t.start, t.sizeLength)
	t.out.fill(t.place, appendCRC(head, t.crc))
	t.place = 0
}

// object writes an object of which size bytes are stored.
func (t *tileWriter) object(size int64, stored io.Reader) (position int64, err error) {
	head := appendHead(nil, idObject, size, sizeLength(size))
	if err := t.open(int64(len(head)) + size); err != nil {
		return 0, err
	}
	position = t.out.end
	t.crc = updateCRC(t.crc, head)
	if _, err := t.out.Write(head); err != nil {
		return 0, err
	}
	t.crc, err = t.out.readFrom(stored, size, t.crc)
	return position, err
}

// frame writes an object of which up to maxSize bytes are stored; write writes them.
func (t *tileWriter) frame(maxSize int64, write func(io.Writer) error) (position int64, err error) {
	length := max(sizeLength(maxSize), 4)
	if err := t.open(1 + int64(length) + maxSize); err != nil {
		return 0, err
	}
	position, err = t.out.reserve(1 + length)
	if err != nil {
		return 0, err
	}
	to := &frameWriter{out: t.out}
	if err := write(to); err != nil {
		return 0, err
	}
	if to.size > maxSize {
		return 0, fmt.Errorf("%w: a frame of %d bytes, expected at most %d", format.ErrTooLarge, to.size, maxSize)
	}
	head := appendHead(nil, idObject, to.size, length)
	t.out.fill(position, head)
	t.crc = joinCRC(updateCRC(t.crc, head), to.crc, to.size)
	return position, nil
}

// frameWriter counts what is written to the stream, and makes a checksum of it.
type frameWriter struct {
	out  *stream
	size int64
	crc  uint32
}

func (f *frameWriter) Write(p []byte) (int, error) {
	f.size += int64(len(p))
	f.crc = updateCRC(f.crc, p)
	return f.out.Write(p)
}
