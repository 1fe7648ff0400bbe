// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"

	"winery/format"
)

// A cached head has the perfect hash in a form of which a lookup needs one short read
// for each level, whatever the bytes are. Numbers are little-endian: cachedStart; the
// groups of each level, 32 bits each, the method and the dictionary; then blocks,
// each for 16 groups: 32 bits for the set bits before the block, the groups, and
// their seeds.
//
// The checksums keep a damaged head from leading out of the index. A block that is
// damaged leads to the entry of another key.
const (
	cachedMagic = "MOShead1"
	blockGroups = 16
	blockSeeds  = 4 + blockGroups*groupBits/8 // where the seeds begin
	cachedBlock = blockSeeds + blockGroups*seedBits/8
	maxMethod   = 64
)

type cachedStart struct {
	Magic                         [8]byte
	Slots, Tiles, Index, Unrolled int64 // as in layout
	OffsetSize                    uint32
	Levels, Method, Dictionary    uint32 // how many levels, and bytes of the others
	VariableCRC                   uint32 // of levels, method and dictionary
	CRC                           uint32 // of the fields before
}

var cachedStartSize = int64(binary.Size(cachedStart{}))

func (s *cachedStart) encode() []byte {
	b, err := binary.Append(nil, binary.LittleEndian, s)
	if err != nil { // a struct of fixed size
		panic(err)
	}
	binary.LittleEndian.PutUint32(b[len(b)-4:], updateCRC(0, b[:len(b)-4]))
	return b
}

// CacheHead implements [format.Reader].
func (r *Reader) CacheHead() []byte {
	var variable []byte
	for _, groups := range r.hash.levels {
		variable = binary.LittleEndian.AppendUint32(variable, groups)
	}
	variable = append(append(variable, r.metadata.method...), r.metadata.dictionary...)
	l := &r.layout
	start := cachedStart{
		Magic: [8]byte([]byte(cachedMagic)), Slots: l.slots, Tiles: l.tiles, Index: l.index, Unrolled: l.unrolled,
		OffsetSize: uint32(l.offsetSize), Levels: uint32(len(r.hash.levels)), Method: uint32(len(r.metadata.method)),
		Dictionary: uint32(len(r.metadata.dictionary)), VariableCRC: updateCRC(0, variable),
	}
	b := append(start.encode(), variable...)
	return r.hash.appendBlocks(b)
}

func (h *hash) appendBlocks(b []byte) []byte {
	const groupsSize, seedsSize = blockSeeds - 4, cachedBlock - blockSeeds
	before := uint32(0)
	var block [cachedBlock]byte
	for i := 0; i*groupsSize < len(h.groups); i++ {
		clear(block[:])
		binary.LittleEndian.PutUint32(block[:], before)
		groups := block[4:blockSeeds]
		copy(groups, h.groups[i*groupsSize:])
		copy(block[blockSeeds:], h.seeds[i*seedsSize:])
		for ; len(groups) > 0; groups = groups[8:] {
			before += uint32(bits.OnesCount64(binary.LittleEndian.Uint64(groups)))
		}
		b = append(b, block[:]...)
	}
	return b
}

// cached reads objects by a cached head.
type cached struct {
	*Reader // without hash
	head    io.ReaderAt
	levels  []uint32
	blocks  int64 // where they begin
}

// OpenCached implements [format.Format].
func (Format) OpenCached(head, src io.ReaderAt, name string) (format.Getter, error) {
	c := &cached{Reader: newReader(src, name), head: head}
	var start cachedStart
	b := make([]byte, cachedStartSize)
	if err := c.readHead(b, 0); err != nil {
		return nil, err
	}
	damaged := fmt.Errorf("%w: its first bytes are damaged", format.ErrStaleHead)
	_, err := binary.Decode(b, binary.LittleEndian, &start)
	if err != nil || string(start.Magic[:]) != cachedMagic || start.CRC != updateCRC(0, b[:len(b)-4]) ||
		start.Levels > maxLevels || start.Method > maxMethod || start.Dictionary > maxMetadata || start.OffsetSize-1 > 7 {
		return nil, damaged
	}
	c.layout = layout{slots: start.Slots, offsetSize: int(start.OffsetSize), tiles: start.Tiles, index: start.Index, unrolled: start.Unrolled}
	variable := make([]byte, 4*start.Levels+start.Method+start.Dictionary)
	c.blocks = cachedStartSize + int64(len(variable))
	if err := c.readHead(variable, cachedStartSize); err != nil {
		return nil, err
	}
	if start.VariableCRC != updateCRC(0, variable) {
		return nil, damaged
	}
	for range start.Levels {
		c.levels = append(c.levels, binary.LittleEndian.Uint32(variable))
		variable = variable[4:]
	}
	var dictionary []byte
	if start.Dictionary > 0 {
		dictionary = variable[start.Method:]
	}
	if c.decoder, err = newDecoder(string(variable[:start.Method]), dictionary); err != nil {
		return nil, fmt.Errorf("%w: %w", format.ErrStaleHead, err)
	}
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
	stored := buf[:c.layout.entrySize()]
	if err := c.read(stored, c.layout.slotOffset(slot)); err != nil {
		return 0, err
	}
	e, used, err := c.decodeEntry(slot, stored)
	if err == nil && (!used || e.id != *id) {
		err = format.ErrStaleHead
	}
	return e.position, err
}

// slot returns the key's slot, which is any slot of the index where the head is
// damaged. It reads into buf.
func (c *cached) slot(key *format.ObjID, buf []byte) (int64, error) {
	block := buf[:cachedBlock]
	first := uint32(0)
	for level, groups := range c.levels {
		sum := sipHash(uint64(level), key)
		group := first + groupOf(sum, groups)
		if err := c.readHead(block, c.blocks+int64(group/blockGroups)*cachedBlock); err != nil {
			return 0, err
		}
		// A function of the groups of this block alone.
		own := hash{groups: block[4:blockSeeds], seeds: block[blockSeeds:], before: []uint32{binary.LittleEndian.Uint32(block)}}
		group %= blockGroups
		if bit := bitOf(sum, own.seed(group)); own.group(group)>>bit&1 != 0 {
			return min(own.rank(group, bit), c.layout.slots-1), nil
		}
		first += groups
	}
	return 0, format.ErrStaleHead
}

// readHead fills b from the head.
func (c *cached) readHead(b []byte, at int64) error {
	if n, err := c.head.ReadAt(b, at); n < len(b) {
		return fmt.Errorf("%w: reading %d bytes at %d: %w", format.ErrStaleHead, len(b), at, err)
	}
	return nil
}
