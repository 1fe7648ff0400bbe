// SPDX-License-Identifier: GPL-3.0-or-later

// Package shard writes, reads, verifies and erases in SWHShard images, version
// 1: objects keyed by their SHA-256, behind a perfect hash function. It knows
// an image only as an io.ReaderAt or io.WriterAt; what lies beneath, a file
// or a block device that may be larger than the image, is the pools' matter.
// This package alone uses libcmph.
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
// libcmph never returns from an empty set of keys, so that swh.shard cannot write
// an image of no objects, though it reads one; and for one pair of keys in
// 10,000 it finds no function. The Writer then builds the function over a key
// or more that no object has, whose slots stay empty.
//
// # Writing
//
// The [Writer] first overwrites the header with zeros. Objects, index and hash
// function then go out as one run of bytes, cut at multiples of 4 MiB, up to 8
// blocks at once and in no particular order. When all of these writes have returned, the
// header is written. A process that dies leaves an image that does not
// open, and the same Writer's calls on the same device begin anew. The Writer flushes
// nothing: until the device is flushed, a loss of power may leave
// a header and not what it speaks of. Flush, then [Reader.Verify] through
// another handle, then rely on it.
//
// # Reading
//
// [Open] reads the header and the hash function, and refuses every header whose
// parts do not join end to end, and every function that has a bucket without
// a code of its own. [Reader.Get] reads an entry and then an object, mostly
// in one read each. It trusts nothing that it reads: an entry whose own key belongs
// into another slot, a position or a length that leads out of the objects is a
// [winery/format.DamageError]. It does not hash what it returns; a caller that needs to know
// compares the SHA-256. Damage that turns a key into an absent one is not
// seen by Get, which returns [winery/format.ErrNotFound]; [Reader.Verify] finds it.
//
// # Erasing
//
// [Format.Erase] takes four steps, each for all of the objects and each followed by a
// flush: zeros over the contents (written, never discarded: a discard may leave
// bytes readable); zeros over the lengths, once the contents read back as zeros;
// over the first byte of each entry's position 0xff, which marks the object as
// erased; and over the entries the empty one. Cut short anywhere, at any byte of
// a write, the image has for each of the objects an entry that leads to it, or is
// done with it:
//
//	cut in step 1   entry and length kept; content partly zeros
//	cut in step 2   entry kept; content zeros, length kept, less or 0
//	cut in step 3   entry kept or marked; length 0, content zeros
//	cut in step 4   entry marked, and partly or wholly the empty one
//
// The same call made again completes it from each of these. A marked entry is
// not damage: its object is not found, whatever the other bytes are. Only the
// mark makes that so, since an entry may straddle two pages of which a power
// cut keeps one; a single byte it cannot cut. Before the first
// write Erase makes sure that it has the right bytes: they have the SHA-256 of the id,
// or else, as after a call cut short, no other entry leads into them and only zeros lie
// around them.
package shard
