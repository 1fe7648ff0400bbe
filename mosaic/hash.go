// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"winery/format"
)

const (
	groupBits = 16 // bits a group
	seedBits  = 4  // bits a seed
	maxLevels = 64 // as many as no set of keys needs
	maxSlots  = 1 << 31
)

// hash is a minimal perfect hash function fmph::GOFunction of the Rust crate ph. It
// has levels, each of some groups of 16 bits. A key has one bit in each level; the
// first of these bits that is set is the key's own, and the number of set bits
// before that one is the key's slot.
type hash struct {
	levels []uint32 // groups in each
	groups []byte   // 16 bits a group, in little-endian words of 64 bits
	seeds  []byte   // 4 bits a group, in the same words
	before []uint32 // set bits before every rankStep-th group
	slots  int64
}

const rankStep = 32 // groups

// parseHash takes a function as the crate writes it: bits a group; the number of
// levels, and the groups of each, as LEB128; the bits; bits a seed; the seeds. It
// keeps b.
func parseHash(b []byte) (*hash, error) {
	var h hash
	if len(b) == 0 || b[0] != groupBits {
		return nil, errors.New("not a function with 16 bits a group")
	}
	rest := b[1:]
	uvarint := func() (v uint64, ok bool) {
		v, n := binary.Uvarint(rest)
		if n <= 0 {
			return 0, false
		}
		rest = rest[n:]
		return v, true
	}
	levels, ok := uvarint()
	if !ok || levels > maxLevels {
		return nil, fmt.Errorf("%d levels", levels)
	}
	sum := uint64(0)
	for level := range levels {
		n, ok := uvarint()
		if !ok || n == 0 || n > maxSlots {
			return nil, fmt.Errorf("%d groups in level %d", n, level)
		}
		h.levels = append(h.levels, uint32(n))
		sum += n
	}
	groups, seeds := wordsFor(sum*groupBits), wordsFor(sum*seedBits)
	if want := 8*groups + 1 + 8*seeds; uint64(len(rest)) != want {
		return nil, fmt.Errorf("%d bytes for %d groups instead of %d", len(rest), sum, want)
	}
	h.groups, rest = rest[:8*groups], rest[8*groups:]
	if rest[0] != seedBits {
		return nil, fmt.Errorf("%d bits a seed instead of %d", rest[0], seedBits)
	}
	h.seeds = rest[1:]
	return &h, h.count()
}

func wordsFor(n uint64) uint64 { return (n + 63) / 64 }

// count counts the set bits.
func (h *hash) count() error {
	h.before = make([]uint32, 0, len(h.groups)/(2*rankStep)+1)
	for i := 0; i < len(h.groups); i += 8 {
		if i%(2*rankStep) == 0 {
			h.before = append(h.before, uint32(h.slots))
		}
		h.slots += int64(bits.OnesCount64(binary.LittleEndian.Uint64(h.groups[i:])))
		if h.slots > maxSlots {
			return fmt.Errorf("more than %d keys", maxSlots)
		}
	}
	return nil
}

// slot returns the key's slot. For a key that the function was not built for it
// returns any slot, or false.
func (h *hash) slot(key *format.ObjID) (slot int64, ok bool) {
	first := uint32(0)
	for level, groups := range h.levels {
		sum := sipHash(uint64(level), key)
		group := first + groupOf(sum, groups)
		bit := bitOf(sum, h.seed(group))
		if h.group(group)>>bit&1 != 0 {
			return h.rank(group, bit), true
		}
		first += groups
	}
	return 0, false
}

// groupOf returns the group of a level to which a hash sum belongs.
func groupOf(sum uint64, groups uint32) uint32 {
	group, _ := bits.Mul64(sum, uint64(groups))
	return uint32(group)
}

// bitOf returns the bit of its group that a hash sum has under a seed.
func bitOf(sum uint64, seed uint32) uint32 { return mix32(uint32(sum)^seed) % groupBits }

func (h *hash) seed(group uint32) uint32 {
	return uint32(h.seeds[group/2]) >> (group % 2 * seedBits) & (1<<seedBits - 1)
}

func (h *hash) group(group uint32) uint16 { return binary.LittleEndian.Uint16(h.groups[2*group:]) }

// rank returns how many set bits precede one.
func (h *hash) rank(group, bit uint32) int64 {
	n := h.before[group/rankStep]
	for g := group / rankStep * rankStep; g < group; g++ {
		n += uint32(bits.OnesCount16(h.group(g)))
	}
	return int64(n) + int64(bits.OnesCount16(h.group(group)&(1<<bit-1)))
}
