// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic

import (
	"crypto/sha256"
	"io"

	"winery/format"
)

// An index entry in the image is a Key element and an Offset element, or two Void
// elements of the same sizes where the object is erased.
const (
	atKey       = 1 + 1                   // in an entry, after the head of Key
	entryFixed  = atKey + keySize + 1 + 1 // an entry but for the bytes of its offset
	maxEntry    = entryFixed + 8
	sizeOfKey   = 0x80 | keySize
	sizeOfBytes = 0x80
)

// appendEntry appends an entry as the image has it; the zero id is an erased one.
func appendEntry(b []byte, e *entry, offsetSize int) []byte {
	key, offset := byte(idKey), byte(idOffset)
	if e.id == (format.ObjID{}) {
		key, offset = byte(idVoid), byte(idVoid)
	}
	b = append(b, key, sizeOfKey)
	b = append(b, e.id[:]...)
	b = append(b, offset, sizeOfBytes|byte(offsetSize))
	return appendNumber(b, uint64(e.position), offsetSize)
}

// writeIndex writes the Index element over entries that are in the order of their
// slots, and returns the SHA-256 of the entries.
func writeIndex(out io.Writer, entries []entry, function []byte, endOfTiles int64) (digest [32]byte, err error) {
	offsetSize := sizeLength(endOfTiles)
	entrySize := entryFixed + offsetSize

	unrolled := int64(len(entries)) * int64(entrySize)
	before := appendElement(nil, idDescription, []byte(description))
	before = appendHead(before, idUnrolled, unrolled, sizeLength(unrolled))
	after := appendElement(nil, idEntrySize, []byte{byte(entrySize)})
	fmph := appendElement(nil, idMap, function)
	container := crcLength + int64(len(fmph))
	after = appendHead(after, idContainer, container, sizeLength(container))
	after = append(appendCRC(after, updateCRC(0, fmph)), fmph...)

	crc, sum := updateCRC(0, before), sha256.New()
	var b [maxEntry]byte
	for i := range entries {
		e := appendEntry(b[:0], &entries[i], offsetSize)
		crc = updateCRC(crc, e)
		sum.Write(e)
	}
	crc = updateCRC(crc, after)

	size := int64(crcLength+len(before)+len(after)) + unrolled
	start := appendHead(nil, idIndex, size, sizeLength(size))
	if _, err := out.Write(append(appendCRC(start, crc), before...)); err != nil {
		return digest, err
	}
	for i := range entries {
		if _, err := out.Write(appendEntry(b[:0], &entries[i], offsetSize)); err != nil {
			return digest, err
		}
	}
	_, err = out.Write(after)
	return [32]byte(sum.Sum(nil)), err
}
