// SPDX-License-Identifier: GPL-3.0-or-later

package shard

import (
	"encoding/binary"
	"io"

	"winery/format"
)

// Format is SWHShard, for pools whose images have this format.
type Format struct{}

var _ format.Format = Format{}

// Name implements [format.Format].
func (Format) Name() string { return "SWHShard" }

// Open implements [format.Format].
func (Format) Open(src io.ReaderAt, size int64, name string) (format.Reader, error) {
	r, err := Open(src, size, name)
	if err != nil {
		return nil, err // not a nil *Reader
	}
	return r, nil
}

// NewWriter implements [format.Format].
func (Format) NewWriter(dst io.WriterAt, limit int64) (format.Writer, error) {
	w, err := NewWriter(dst, limit)
	if err != nil {
		return nil, err
	}
	return w, nil
}

const (
	magic      = "SWHShard"
	version    = 1
	headerSize = 512 // magic, header and zeros; the first object follows
	lengthSize = 8   // before each object
	keySize    = 32
	entrySize  = keySize + 8
	maxObjects = 1 << 30 // libcmph counts the bits of its tables in 32 bits
)

// Where the header's fields lie.
const (
	atVersion         = 32
	atObjects         = 40
	atObjectsPosition = 48
	atObjectsSize     = 56
	atIndexPosition   = 64
	atIndexSize       = 72
	atHashPosition    = 80
)

// Layout says where the parts of an image lie and how large they are, in bytes
// unless said otherwise. Objects always start at byte 512.
type Layout struct {
	format.Info
	IndexSlots    int64 // entries of the index, at least Objects
	IndexPosition int64
	IndexSize     int64
	HashPosition  int64
}

// newLayout is that of an image up to its hash function, whose size is not known yet.
func newLayout(objects, objectsSize, indexSlots int64) Layout {
	l := Layout{
		Info:          format.Info{Objects: objects, ObjectsSize: objectsSize, ContentSize: objectsSize - lengthSize*objects},
		IndexSlots:    indexSlots,
		IndexPosition: headerSize + objectsSize,
		IndexSize:     indexSlots * entrySize,
	}
	l.HashPosition = l.IndexPosition + l.IndexSize
	return l
}

func (l Layout) encode() []byte {
	b := make([]byte, headerSize)
	copy(b, magic)
	for at, v := range map[int]int64{
		atVersion:         version,
		atObjects:         l.Objects,
		atObjectsPosition: headerSize,
		atObjectsSize:     l.ObjectsSize,
		atIndexPosition:   l.IndexPosition,
		atIndexSize:       l.IndexSize,
		atHashPosition:    l.HashPosition,
	} {
		binary.BigEndian.PutUint64(b[at:], uint64(v))
	}
	return b
}

// entry is an entry of the index as stored in the image: key, position.
type entry [entrySize]byte

// unused is the entry of a slot without an object, or whose object was erased.
var unused = newEntry(format.ObjID{}, ^uint64(0))

// erasedMark is the first byte of the position in an entry whose object is
// erased: of the unused entry, and of one that [Format.Erase] was about to make unused. No
// image is so large that an object's position begins with it.
const erasedMark = 0xff

func newEntry(id format.ObjID, position uint64) (e entry) {
	copy(e[:], id[:])
	binary.BigEndian.PutUint64(e[keySize:], position)
	return e
}

func (e *entry) key() format.ObjID { return format.ObjID(e[:keySize]) }
func (e *entry) erased() bool      { return e[keySize] == erasedMark }
func (e *entry) position() uint64  { return binary.BigEndian.Uint64(e[keySize:]) }

// SizeBound implements [format.Format]: for each object it has 8 bytes of length, an
// index entry of 40 bytes with a few per cent unused, and its part of the hash function.
func (Format) SizeBound(objects, bytes int64) int64 {
	const head, each = 8192, 56 // head: the header, and rounding up to a prime number of slots
	return head + bytes + each*objects
}
