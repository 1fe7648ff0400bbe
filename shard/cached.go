// SPDX-License-Identifier: GPL-3.0-or-later

package shard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"winery/format"
)

// A cached head has the hash function in a form of which a lookup needs two short
// reads, whatever the bytes are. Numbers are little-endian:
//
//	0    "SWHhead1"
//	8    objects_size and slots, 64 bits each
//	24   seed, buckets and bits of all codes, 32 bits each
//	36   CRC-32C of the bytes before
//	40   blocks, each for 32 buckets: 32 bits for where the code of the first one
//	     begins, and the lengths of their codes, 5 bits each
//	     the codes of all buckets, and 8 zeros
//
// The checksum keeps a damaged head from leading out of the index. A block or a code
// that is damaged leads to the entry of another key.
const (
	cachedMagic  = "SWHhead1"
	cachedStart  = 40
	blockBuckets = 32
	lengthBits   = 5 // a code has up to maxCodeBits
	cachedBlock  = 4 + blockBuckets*lengthBits/8
	codeRead     = 8 // bytes that have any code: it begins in the first 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// CacheHead implements [format.Reader].
func (r *Reader) CacheHead() []byte {
	h := r.hash
	b := make([]byte, 0, cachedCodes(h.buckets)+int64(len(h.codes))+codeRead)
	b = append(b, cachedMagic...)
	b = binary.LittleEndian.AppendUint64(b, uint64(r.info.ObjectsSize))
	b = binary.LittleEndian.AppendUint64(b, uint64(r.info.IndexSlots))
	b = binary.LittleEndian.AppendUint32(b, h.seed)
	b = binary.LittleEndian.AppendUint32(b, h.buckets)
	b = binary.LittleEndian.AppendUint32(b, h.codeBits)
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	one, start := h.one(0), uint32(0)
	for first := uint32(0); first < h.buckets; first += blockBuckets {
		b = binary.LittleEndian.AppendUint32(b, start)
		lengths := b[len(b):][:cachedBlock-4]
		for i := range min(blockBuckets, h.buckets-first) {
			end := h.codeEnd(first+i, one)
			putBits(lengths, i*lengthBits, end-start)
			if start = end; first+i+1 < h.buckets {
				one = h.nextOne(one)
			}
		}
		b = b[:len(b)+len(lengths)]
	}
	return append(append(b, h.codes...), make([]byte, codeRead)...)
}

// cachedCodes returns where the codes are.
func cachedCodes(buckets uint32) int64 {
	return cachedStart + cachedBlock*((int64(buckets)+blockBuckets-1)/blockBuckets)
}

// putBits puts a number of lengthBits bits at bit i of zeros.
func putBits(b []byte, i, v uint32) {
	v <<= i % 8
	b[i/8] |= byte(v)
	if v > 0xff {
		b[i/8+1] |= byte(v >> 8)
	}
}

// cached reads objects by a cached head.
type cached struct {
	*Reader // without hash
	head    io.ReaderAt
	hash    hash // without tables
}

// OpenCached implements [format.Format].
func (Format) OpenCached(head, src io.ReaderAt, name string) (format.Getter, error) {
	c := &cached{Reader: newReader(src, name), head: head}
	buf := c.heads.Get().(*[headSize]byte)
	defer c.heads.Put(buf)
	b := buf[:cachedStart]
	if err := c.readHead(b, 0); err != nil {
		return nil, err
	}
	c.hash.seed, c.hash.buckets, c.hash.codeBits = words(b).at(6), words(b).at(7), words(b).at(8)
	slots := binary.LittleEndian.Uint64(b[16:])
	switch {
	case string(b[:len(cachedMagic)]) != cachedMagic, words(b).at(9) != crc32.Checksum(b[:cachedStart-4], castagnoli),
		c.hash.buckets == 0, slots < 2, slots > maxSlots:
		return nil, fmt.Errorf("%w: its first bytes are damaged", format.ErrStaleHead)
	}
	c.hash.slots = uint32(slots)
	c.info = newLayout(0, int64(binary.LittleEndian.Uint64(b[8:])), int64(slots))
	return c, nil
}

// GetUpTo implements [format.Getter].
func (c *cached) GetUpTo(id format.ObjID, atMost int64) (size int64, content []byte, err error) {
	buf := c.heads.Get().(*[headSize]byte)
	defer c.heads.Put(buf)
	position, err := c.locate(&id, buf[:])
	if err == nil {
		size, content, err = c.objectAt(id, position, atMost, buf)
	}
	if damage := new(format.DamageError); errors.As(err, &damage) {
		err = fmt.Errorf("%w: %s", format.ErrStaleHead, damage.Error())
	}
	return size, content, err
}

// locate returns the position of an object. It reads into buf.
func (c *cached) locate(id *format.ObjID, buf []byte) (int64, error) {
	slot, err := c.slot(id, buf)
	if err != nil {
		return 0, err
	}
	e := (*entry)(buf)
	if err := c.read(e[:], c.slotOffset(slot)); err != nil {
		return 0, err
	}
	if e.erased() || e.key() != *id {
		return 0, format.ErrStaleHead
	}
	return int64(e.position()), c.checkPosition(slot, e)
}

// slot returns the key's slot, which is any slot of the index where the head is
// damaged. It reads into buf.
func (c *cached) slot(key *format.ObjID, buf []byte) (int64, error) {
	sumA, sumB, sumC := jenkins(c.hash.seed, key)
	bucket := sumA % c.hash.buckets
	block := buf[:cachedBlock]
	if err := c.readHead(block, cachedStart+int64(bucket/blockBuckets)*cachedBlock); err != nil {
		return 0, err
	}
	start, lengths := words(block).at(0), words(block[4:])
	place := bucket % blockBuckets
	for i := range place {
		start += lengths.bits(i*lengthBits, lengthBits)
	}
	n := lengths.bits(place*lengthBits, lengthBits)
	code := buf[:codeRead]
	if err := c.readHead(code, cachedCodes(c.hash.buckets)+4*int64(start/32)); err != nil {
		return 0, err
	}
	return c.hash.displaced(sumB, sumC, words(code).code(start%32, n)), nil
}

// readHead fills b from the head.
func (c *cached) readHead(b []byte, at int64) error {
	if n, err := c.head.ReadAt(b, at); n < len(b) {
		return fmt.Errorf("%w: reading %d bytes at %d: %w", format.ErrStaleHead, len(b), at, err)
	}
	return nil
}
