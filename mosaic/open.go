// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
)

// layout says where the parts of an image lie.
type layout struct {
	slots      int64 // index entries
	offsetSize int   // bytes of an entry's offset
	start      int64 // of the metadata's content
	tiles      int64
	index      int64 // where the tiles end
	indexCRC   int64 // the checksum of the index: a CRC32 element, or Void while an erasure is incomplete
	unrolled   int64 // the index entries
	tail       int64 // what follows them
	end        int64
}

func (l *layout) entrySize() int64            { return entryFixed + int64(l.offsetSize) }
func (l *layout) slotOffset(slot int64) int64 { return l.unrolled + slot*l.entrySize() }

const (
	maxMetadata = 16 << 20 // bytes of a dictionary and comments
	firstRead   = 4096
)

// readHeader reads the EBML header and the metadata, and returns their bytes, those
// that erasing changes zeroed.
func (r *Reader) readHeader(device int64) (b []byte, err error) {
	b = make([]byte, min(firstRead, device))
	if err := r.read(b, 0); err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(b, []byte(ebmlHeader)) {
		return nil, r.damaged(0, "not a mosaic")
	}
	at := int64(len(ebmlHeader))
	h, err := parseHead(b[at:])
	if err != nil || h.id != idMosaic || h.size > device-at-h.length {
		return nil, r.damaged(at, "no Mosaic element that ends within the %d bytes of the image", device)
	}
	r.layout.end = at + h.length + h.size
	at += h.length
	h, err = parseHead(b[at:])
	if err != nil || h.id != idMetadata || h.size > min(r.layout.end-at-h.length, maxMetadata) {
		return nil, r.damaged(at, "no metadata of up to %d bytes", maxMetadata)
	}
	at += h.length
	r.layout.start, r.layout.tiles = at, at+h.size
	if r.layout.tiles > int64(len(b)) {
		b = make([]byte, r.layout.tiles)
		if err := r.read(b, 0); err != nil {
			return nil, err
		}
	}
	b = b[:r.layout.tiles]
	if err := r.metadata.parse(bytes.Clone(b[at:])); err != nil {
		return nil, r.damaged(at, "%v", err)
	}
	if r.layout.index = r.metadata.endOfTiles; r.layout.index < r.layout.tiles || r.layout.index >= r.layout.end {
		return nil, r.damaged(at, "tiles that end at %d, outside of %d to %d", r.layout.index, r.layout.tiles, r.layout.end)
	}
	clear(b[at:][:endOfCounts])
	return b, nil
}

// readIndex reads the index but for its entries, and returns its bytes, those that
// erasing changes zeroed.
func (r *Reader) readIndex() (b []byte, err error) {
	l := &r.layout
	b = make([]byte, min(firstRead, l.end-l.index))
	if err := r.read(b, l.index); err != nil {
		return nil, err
	}
	h, err := parseHead(b)
	if err != nil || h.id != idIndex || l.index+h.length+h.size != l.end {
		return nil, r.damaged(l.index, "no index that ends at %d", l.end)
	}
	at := h.length
	l.indexCRC = l.index + at
	if int64(len(b)) < at+crcLength || b[at] != byte(idCRC32) && b[at] != byte(idVoid) || b[at+1] != 0x80|4 {
		return nil, r.damaged(l.indexCRC, "the index has no checksum")
	}
	r.incomplete = b[at] == byte(idVoid)
	clear(b[at:][:crcLength])
	at += crcLength
	want := appendElement(nil, idDescription, []byte(description))
	if !bytes.HasPrefix(b[at:], want) {
		return nil, r.damaged(l.index+at, "an index of another kind than %q", description)
	}
	at += int64(len(want))
	h, err = parseHead(b[at:])
	if l.unrolled = l.index + at + h.length; err != nil || h.id != idUnrolled || h.size > l.end-l.unrolled {
		return nil, r.damaged(l.index+at, "no index entries that end before %d", l.end)
	}
	l.tail = l.unrolled + h.size
	// The perfect hash has a small fraction of a byte for each byte of an entry.
	if l.end-l.tail > firstRead+h.size/8 {
		return nil, r.damaged(l.tail, "%d bytes after %d bytes of index entries", l.end-l.tail, h.size)
	}
	tail := make([]byte, l.end-l.tail)
	if err := r.read(tail, l.tail); err != nil {
		return nil, err
	}
	return append(b[:l.unrolled-l.index], tail...), r.parseTail(tail)
}

// parseTail takes what follows the index entries: their size, and the perfect hash.
func (r *Reader) parseTail(b []byte) error {
	l := &r.layout
	h, err := parseHead(b)
	if err != nil || h.id != idEntrySize || h.size != 1 || int64(len(b)) < h.length+1 {
		return r.damaged(l.tail, "the index does not say how large an entry is")
	}
	l.offsetSize = int(b[h.length]) - entryFixed
	if l.offsetSize < 1 || l.offsetSize > 8 {
		return r.damaged(l.tail, "index entries of %d bytes", b[h.length])
	}
	at := h.length + 1
	h, err = parseHead(b[at:])
	if err != nil || h.id != idContainer || at+h.length+h.size != int64(len(b)) {
		return r.damaged(l.tail+at, "no perfect hash that ends where the index does")
	}
	at += h.length
	crc := b[at:]
	if len(crc) < crcLength || crc[0] != byte(idCRC32) || crc[1] != 0x80|4 ||
		binary.LittleEndian.Uint32(crc[2:]) != updateCRC(0, crc[crcLength:]) {
		return r.damaged(l.tail+at, "the perfect hash has a checksum mismatch")
	}
	at += crcLength
	h, err = parseHead(b[at:])
	if err != nil || h.id != idMap || at+h.length+h.size != int64(len(b)) {
		return r.damaged(l.tail+at, "no perfect hash that ends where the index does")
	}
	r.hash, err = parseHash(b[at+h.length:])
	if err != nil {
		return r.damaged(l.tail+at, "perfect hash: %v", err)
	}
	l.slots = r.hash.slots
	if l.tail-l.unrolled != l.slots*l.entrySize() {
		return r.damaged(l.tail+at, "a perfect hash of %d keys for %d bytes of index entries", l.slots, l.tail-l.unrolled)
	}
	return nil
}

// fingerprint returns the SHA-256 of what Open reads, but for what erasing changes.
func fingerprint(parts ...[]byte) [32]byte {
	sum := sha256.New()
	for _, p := range parts {
		sum.Write(p)
	}
	return [32]byte(sum.Sum(nil))
}
