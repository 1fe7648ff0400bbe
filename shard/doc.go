// SPDX-License-Identifier: GPL-3.0-or-later

// Package shard writes, reads, verifies and erases in SWHShard images, version 1:
// objects keyed by their SHA-256, behind a perfect hash function. An image is an
// io.ReaderAt or io.WriterAt here; the pools manage the file, or the block
// device, which may be larger than the image. This package alone uses libcmph.
//
// # Bytes
//
// Numbers are unsigned 64-bit and big-endian, but for the hash function. The
// parts follow one another without room between them:
//
//	0      "SWHShard", 24 zeros
//	32     version (1), objects, objects_position (512), objects_size,
//	       index_position, index_size, hash_position
//	88     zeros
//	512    objects: each its length, then its content
//	index  entries of 40 bytes, one a slot: key, position of the object's length
//	hash   a CHD_PH function as libcmph dumps it, little-endian, to the end
//
// The function (graphsize 0.99, one key a bin, b = 4) sends each key to a slot
// of its own. There are slightly more slots than objects, and 11 at least: the
// next prime number. A slot without an object holds 32 zeros and 2^64-1. An erased
// object leaves its slot so; its length and its content are zeros, and the
// header still counts it.
//
// libcmph never returns for an empty set of keys, so swh.shard cannot write an
// image without objects, although it reads one; and for one pair of keys in
// 10,000 it finds no function. In these cases the Writer adds one or more keys
// that no object has; their slots stay empty.
//
// # Writing
//
// The [Writer] first overwrites the header with zeros. Then it writes objects,
// index and hash function as one sequence of bytes, cut at multiples of 4 MiB, up
// to 8 blocks at once and in no particular order. When all of these writes have
// returned, it writes the header. A process that dies leaves an image that does
// not open, and a new Writer on the same device starts again. The Writer does not
// flush: until the device is flushed, a power cut may leave a header without the
// data that it describes. Flush, then [Reader.Verify] through another handle,
// then rely on the image.
//
// # Reading
//
// [Open] reads the header and the hash function, and refuses every header whose parts are
// not contiguous, and every function that has a bucket without its own code. [Reader.GetUpTo]
// reads an entry and then an object, mostly in one read each. It validates what it reads: an
// entry whose key belongs in another slot, or a position or length outside the area of
// objects, is a [winery/format.DamageError]. It does not hash the content; the caller must
// compare the SHA-256. Damage that changes a key into an absent one is not detected by GetUpTo,
// which returns [winery/format.ErrNotFound]; [Reader.Verify] detects it.
//
// # Erasing
//
// [Format.Erase] takes four steps, each for all of the objects and each followed by a
// flush: zeros over the contents (written, never discarded: a discard may leave
// bytes readable); zeros over the lengths, once the contents read back as zeros;
// over the first byte of each entry's position 0xff, which marks the object as
// erased; and over the entries the empty one. Cut short anywhere, at any byte of
// a write, the image has for each of the objects an entry that leads to it, or one
// that is marked as erased or empty:
//
//	cut in step 1   entry and length kept; content partly zeros
//	cut in step 2   entry kept; content zeros, length kept, less or 0
//	cut in step 3   entry kept or marked; length 0, content zeros
//	cut in step 4   entry marked, and partly or wholly the empty one
//
// Repeating the call completes the erasure from each of these states. A marked
// entry is not damage: its object is not found, even if the other bytes are
// inconsistent. The mark is needed because an entry may straddle two pages of
// which a power cut keeps one; a single byte cannot be cut. Before the first
// write Erase checks that it has the right bytes: either they have the SHA-256 of
// the id, or, after an interrupted call, no other entry points into them and only
// zeros are around them.
package shard
