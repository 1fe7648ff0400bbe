// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic

import (
	"encoding/binary"
	"errors"
	"math/bits"
)

// elementID names the type of an element, with the bits that say how long it is.
type elementID uint32

const (
	idEBML        elementID = 0x1A45DFA3
	idMosaic      elementID = 0x1C535748
	idMetadata    elementID = 0x1D535748
	idTile        elementID = 0x1E535748
	idIndex       elementID = 0x1F535748
	idCounter     elementID = 0x5000
	idTotalSize   elementID = 0x5001
	idMethod      elementID = 0x5002
	idDictionary  elementID = 0x5003
	idComment     elementID = 0x5004
	idEndOfTiles  elementID = 0x5099
	idDescription elementID = 0x6001
	idUnrolled    elementID = 0x6002
	idEntrySize   elementID = 0x6003
	idContainer   elementID = 0x6004
	idMap         elementID = 0x6005
	idKey         elementID = 0xA0
	idOffset      elementID = 0xA1
	idCRC32       elementID = 0xBF
	idVoid        elementID = 0xEC
	idObject      elementID = 0xF0
)

const (
	maxHead   = 4 + 8 // bytes of an element's id and size
	crcLength = 1 + 1 + 4
)

// head is what precedes the content of an element.
type head struct {
	id     elementID
	size   int64 // of the content
	length int64 // of the head itself
}

var errHead = errors.New("not the head of an element")

// parseHead takes the head of an element from the first bytes of b. A size of ones alone
// is a size, though EBML reserves it: swh.mosaic writes 127 as FF, and 16383 as 7FFF.
func parseHead(b []byte) (h head, err error) {
	if len(b) == 0 {
		return h, errHead
	}
	n := bits.LeadingZeros8(b[0]) + 1
	if n > 4 || len(b) <= n {
		return h, errHead
	}
	for _, c := range b[:n] {
		h.id = h.id<<8 | elementID(c)
	}
	l := bits.LeadingZeros8(b[n]) + 1
	if l > 8 || len(b) < n+l {
		return h, errHead
	}
	size := uint64(b[n]) & (0x7f >> (l - 1))
	for _, c := range b[n+1 : n+l] {
		size = size<<8 | uint64(c)
	}
	h.size, h.length = int64(size), int64(n+l)
	return h, nil
}

// sizeLength returns the number of bytes in which swh.mosaic writes a size.
func sizeLength(size int64) (n int) {
	for n = 1; size >= 1<<(7*n); n++ {
	}
	return n
}

// appendHead appends the head of an element, with a size of so many bytes.
func appendHead(b []byte, id elementID, size int64, sizeLength int) []byte {
	b = appendNumber(b, uint64(id), (bits.Len32(uint32(id))+7)/8)
	return appendNumber(b, uint64(size)|1<<(7*sizeLength), sizeLength)
}

// appendElement appends an element with a content.
func appendElement(b []byte, id elementID, content []byte) []byte {
	b = appendHead(b, id, int64(len(content)), sizeLength(int64(len(content))))
	return append(b, content...)
}

// appendNumber appends the last n bytes of a number, big-endian.
func appendNumber(b []byte, v uint64, n int) []byte {
	return append(b, binary.BigEndian.AppendUint64(nil, v)[8-n:]...)
}

// number returns the value of up to 8 big-endian bytes.
func number(b []byte) (v uint64) {
	for _, c := range b {
		v = v<<8 | uint64(c)
	}
	return v
}

// appendCRC appends a CRC32 element.
func appendCRC(b []byte, crc uint32) []byte {
	return appendElement(b, idCRC32, binary.LittleEndian.AppendUint32(nil, crc))
}
