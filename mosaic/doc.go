// SPDX-License-Identifier: GPL-3.0-or-later

// Package mosaic writes, reads, verifies and erases in Mosaic images, the second format
// of the Python Winery (swh.mosaic): objects keyed by their SHA-256, compressed one by
// one, behind a perfect hash function. An image is an io.ReaderAt or io.WriterAt here;
// the pools manage the file. ADR 15 has the reasons.
//
// # Bytes
//
// An image is EBML (RFC 8794): elements of an id, a size and a content, which may be
// elements again. As in swh.mosaic, a size of ones alone is a size: 127 is FF. Numbers
// are big-endian unless said otherwise; offsets count from the start of the image. The
// parts follow one another without room between them:
//
//	EBML                            38 bytes that are the same in all images
//	Mosaic                          12 bytes of head; all below
//	  ContainerMetaData
//	    CRC32
//	    ObjectsCounter              8 bytes: objects that are not erased
//	    ObjectsTotalSize            8 bytes: of their contents
//	    EndOfTilesOffset            8 bytes: where Index begins
//	    CompressionMethod           none, zstd or zstd.dict
//	    CompressionData             the dictionary, for zstd.dict only
//	    Comment                     any number; the Writer adds the SHA-256 of the index entries
//	  Tile                          as many as needed, of 32 MB and one object at most
//	    CRC32
//	    Object or Void              the stored bytes: the content, or a zstd frame
//	  Index
//	    CRC32, or Void              of the same size
//	    IdxDescription              which keys and which hash function
//	    IdxUnrolled                 entries of the same size, one a slot:
//	      Key, Offset, or Void, Void  32 bytes, and those that the end of the tiles takes as an EBML size
//	    IdxUnrolledEntrySize        1 byte: of an entry, heads included
//	    MapContainer
//	      CRC32
//	      Map                       the hash function
//
// A CRC32 element comes first in its parent. It has the IEEE checksum, little-endian, of
// the rest of the parent's content. An offset is that of the Object element. The hash
// function is minimal: an object's slot, from 0 to the number of keys less one, is
// the key's rank (see hash.go). An erased object leaves Void elements of the same
// sizes, with zeros, in its tile and in the index. An object has up to
// [MaxObjectSize] bytes.
//
// The images of swh.mosaic have no digest in their comments, and otherwise the same
// elements; without compression even the same bytes for the same objects. Indexes
// over other keys, which swh.mosaic can also write, are refused.
//
// # Compression
//
// The levels 0 to 22 of libzstd become three levels of the library klauspost/compress: 1 and
// 2, up to 9 (and 0), and above; with a dictionary the last one counts as the second. A
// frame says how large its content is. The dictionary is made of what the shard's first
// objects have in common, up to 4 MiB of which wait for it in memory: of pieces of 10 to
// 96 bytes, each of which at least 8 objects have, byte for byte. Each open image with a
// dictionary takes about 300 kB.
//
// # Writing
//
// The [Writer] first overwrites the first 50 bytes with zeros. Then it writes the tiles
// and the index as one sequence of bytes, cut at multiples of 4 MiB, several blocks at
// once and in no particular order. When all of these writes have returned, it writes
// the metadata, and last the first 50 bytes. A process that dies leaves an image
// that does not open, and a new Writer on the same device starts again. The Writer does
// not flush: until the device is flushed, a power cut may leave a header without the
// data that it describes. Flush, then [Reader.Verify] through another handle, then
// rely on the image.
//
// # Reading
//
// [Open] reads the metadata and the index but for its entries, and checks their checksums.
// [Reader.GetUpTo] reads an entry and then an object, mostly in one read each. It validates
// what it reads, but it does not hash the content; the caller must compare the SHA-256.
// Damage that changes a key into an absent one is not detected by GetUpTo, which returns
// [winery/format.ErrNotFound]; [Reader.Verify] detects it, and reads every checksum.
//
// # Erasing
//
// [Format.Erase] takes six steps, each for all of the objects and each followed by a flush:
//
//  1. The CRC32 element of Index becomes Void: one byte, which cannot be torn. From now
//     on no checksum but that of Map and no counter means anything.
//  2. Zeros over the contents (written, never discarded).
//  3. Once the zeros read back: the Key element of each entry becomes Void, one byte. Its object
//     is not found any more, even if the other bytes of the entry are still there.
//  4. The Object element becomes Void, one byte.
//  5. Zeros over the rest of the entries; the new checksums of tiles, index and metadata,
//     and the counters.
//  6. The first step's Void becomes CRC32 again.
//
// New checksums follow from the old ones and from what changes, because CRC-32 is linear:
// neither the tiles nor the index are read, and a checksum that was wrong stays wrong. Cut short
// anywhere, at any byte of a write, the image has for each of the objects an entry that
// leads to it, or one that is Void, and all other objects are as they were. The next call sees
// the Void of the first step. It reads the whole image once, completes the erasures that reached
// step 3, and computes checksums and counters from what it reads.
//
// An object that was erased can be restored from another copy of the image. Then the first
// step comes first, and the last two, with nothing to erase, in the end. An object that is
// restored from its content can get another frame. Then the first step comes first, and the
// last one, after the new checksum of the tile, in the end.
//
// The dictionary stays as it is, because any frame may refer to any of its bytes. So
// pieces that 8 of the first objects had in common can be left in the image, and in what
// caches keep of it, when all of these objects are erased. No piece that fewer of them
// had is in the dictionary, if this package wrote the image.
//
// Before the first write Erase checks that it has the right bytes: either they have the
// SHA-256 of the id, or, for a damaged or partly erased object, they are an element
// to which no other entry leads, in an image in which no other bytes are without an entry.
package mosaic
