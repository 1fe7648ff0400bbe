// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// metadata is the content of ContainerMetaData. Erasing changes the two counters and
// the checksum.
type metadata struct {
	objects    int64 // that are not erased
	totalSize  int64 // of their contents
	endOfTiles int64 // where the index begins
	method     string
	dictionary []byte
	digest     [32]byte // of the index entries, in a comment
	content    []byte   // of the element, where it was read
}

// The checksum and the counters come first in this order and with these lengths.
const (
	atCounter   = crcLength + 2 + 1
	atTotalSize = atCounter + 8 + 2 + 1
	endOfCounts = atTotalSize + 8
)

const digestPrefix = "SHA-256 of the index entries as written: "

// encode returns the whole element.
func (m *metadata) encode() []byte {
	rest := m.counts()[crcLength:]
	rest = appendElement(rest, idEndOfTiles, binary.BigEndian.AppendUint64(nil, uint64(m.endOfTiles)))
	rest = appendElement(rest, idMethod, []byte(m.method))
	if m.dictionary != nil {
		rest = appendElement(rest, idDictionary, m.dictionary)
	}
	rest = appendElement(rest, idComment, fmt.Appendf(nil, "%s%x", digestPrefix, m.digest))
	size := crcLength + int64(len(rest))
	b := appendHead(nil, idMetadata, size, sizeLength(size))
	return append(appendCRC(b, updateCRC(0, rest)), rest...)
}

// counts returns what erasing changes: a place for the checksum, and the counters.
func (m *metadata) counts() []byte {
	b := appendElement(make([]byte, crcLength), idCounter, binary.BigEndian.AppendUint64(nil, uint64(m.objects)))
	return appendElement(b, idTotalSize, binary.BigEndian.AppendUint64(nil, uint64(m.totalSize)))
}

// recount returns counts with other counters and the checksum over all.
func (m *metadata) recount(objects, totalSize int64) []byte {
	changed := metadata{objects: objects, totalSize: totalSize}
	b := changed.counts()
	copy(b, appendCRC(nil, updateCRC(updateCRC(0, b[crcLength:]), m.content[endOfCounts:])))
	return b
}

var errMetadata = errors.New("metadata that no mosaic image has")

// parse takes the content of the element. It keeps b.
func (m *metadata) parse(b []byte) error {
	if len(b) < endOfCounts {
		return errMetadata
	}
	m.content = b
	m.objects = int64(binary.BigEndian.Uint64(b[atCounter:]))
	m.totalSize = int64(binary.BigEndian.Uint64(b[atTotalSize:]))
	counts := m.counts()
	if b[0] != byte(idCRC32) || b[1] != 0x80|4 || string(b[crcLength:endOfCounts]) != string(counts[crcLength:]) {
		return errMetadata
	}
	if m.objects < 0 || m.totalSize < 0 {
		return errMetadata
	}
	for rest := b[endOfCounts:]; len(rest) > 0; {
		h, err := parseHead(rest)
		if err != nil || h.size > int64(len(rest))-h.length {
			return errMetadata
		}
		content := rest[h.length:][:h.size]
		rest = rest[h.length+h.size:]
		switch {
		case h.id == idEndOfTiles && h.size == 8 && m.endOfTiles == 0:
			m.endOfTiles = int64(binary.BigEndian.Uint64(content))
		case h.id == idMethod && m.method == "":
			m.method = string(content)
		case h.id == idDictionary && m.dictionary == nil:
			m.dictionary = content
		case h.id == idComment:
		default:
			return errMetadata
		}
	}
	return nil
}

// intact reports whether the checksum is that of the rest.
func (m *metadata) intact() bool {
	return binary.LittleEndian.Uint32(m.content[2:]) == updateCRC(0, m.content[crcLength:])
}
