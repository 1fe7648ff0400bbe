// SPDX-License-Identifier: GPL-3.0-or-later

package shard

import "encoding/binary"

// ObjID is the SHA-256 of an object's content. The zero ObjID cannot be
// stored: it marks the index entries that hold nothing.
type ObjID = [32]byte

const (
	magic      = "SWHShard"
	version    = 1
	headerSize = 512 // magic, header and zeros; the first object follows
	lengthSize = 8   // before each object
	keySize    = 32
	entrySize  = EntrySize
	maxObjects = 1 << 30 // libcmph counts the bits of its tables in 32 bits
)

// EntrySize is that of an index entry, in bytes.
const EntrySize = keySize + 8

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

// Info says where the parts of an image lie and how large they are, in bytes
// unless said otherwise. Objects always start at byte 512.
type Info struct {
	Objects       int64 // objects the image was written with, erased ones included
	IndexSlots    int64 // entries of the index, at least Objects
	ObjectsSize   int64 // all objects with their lengths
	IndexPosition int64
	IndexSize     int64
	HashPosition  int64
	Size          int64 // bytes of the image in use; its device may be larger
}

// ContentSize is the bytes of the contents that the image was written with.
func (i Info) ContentSize() int64 { return i.ObjectsSize - lengthSize*i.Objects }

func (i Info) encode() []byte {
	b := make([]byte, headerSize)
	copy(b, magic)
	for at, v := range map[int]int64{
		atVersion:         version,
		atObjects:         i.Objects,
		atObjectsPosition: headerSize,
		atObjectsSize:     i.ObjectsSize,
		atIndexPosition:   i.IndexPosition,
		atIndexSize:       i.IndexSize,
		atHashPosition:    i.HashPosition,
	} {
		binary.BigEndian.PutUint64(b[at:], uint64(v))
	}
	return b
}

// entry is an entry of the index as it lies in the image: key, position.
type entry [entrySize]byte

// unused is the entry of a slot that no object has, or has any more.
var unused = newEntry(ObjID{}, ^uint64(0))

// erasedMark is the first byte of the position in an entry whose object is
// erased: of the unused entry, and of one that [Erase] was about to make unused. No
// image is so large that an object's position begins with it.
const erasedMark = 0xff

func newEntry(id ObjID, position uint64) (e entry) {
	copy(e[:], id[:])
	binary.BigEndian.PutUint64(e[keySize:], position)
	return e
}

func (e *entry) key() ObjID       { return ObjID(e[:keySize]) }
func (e *entry) erased() bool     { return e[keySize] == erasedMark }
func (e *entry) position() uint64 { return binary.BigEndian.Uint64(e[keySize:]) }

// SizeBound is more than the Size of an image of so many objects whose contents
// have so many bytes: for each object 8 bytes of length, an index entry of 40
// bytes with a few per cent unused, and its part of the hash function.
func SizeBound(objects, bytes int64) int64 {
	const head, each = 8192, 56 // head: the header, and rounding up to a prime number of slots
	return head + bytes + each*objects
}
