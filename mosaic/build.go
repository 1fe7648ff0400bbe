// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic

import (
	"encoding/binary"
	"errors"
	"math/bits"

	"winery/format"
)

// levelKeys is for how many keys a level has levelGroups groups.
const (
	levelKeys   = 64
	levelGroups = 4
)

// buildHash returns a function over the keys of the entries, which must differ, as
// [parseHash] takes it. It is the function that the crate makes of these keys,
// byte for byte, whatever their order. Meanwhile it takes about 17 bytes an entry.
func buildHash(entries []entry) ([]byte, error) {
	keys, err := format.Reallocate[key](nil, len(entries)) // those that are left
	if err != nil {
		return nil, err
	}
	defer func() { _, _ = format.Reallocate(keys[:cap(keys)], 0) }()
	for i := range keys {
		keys[i].entry = uint32(i)
	}
	var levels []uint32
	var groups []uint16
	var seeds []uint8
	for left := keys; len(left) > 0; {
		if len(levels) == maxLevels {
			return nil, errors.New("the perfect hash function has too many levels")
		}
		for i := range left {
			left[i].sum = sipHash(uint64(len(levels)), &entries[left[i].entry].id)
		}
		level := newLevel(len(left))
		for seed := range uint32(1 << seedBits) {
			level.try(left, seed)
		}
		left = level.unplaced(left)
		levels = append(levels, uint32(len(level.best)))
		groups = append(groups, level.best...)
		seeds = append(seeds, level.seeds...)
	}
	b := binary.AppendUvarint([]byte{groupBits}, uint64(len(levels)))
	for _, n := range levels {
		b = binary.AppendUvarint(b, uint64(n))
	}
	at := len(b)
	b = append(b, make([]byte, 8*wordsFor(uint64(len(groups))*groupBits))...)
	for i, bits := range groups {
		binary.LittleEndian.PutUint16(b[at+2*i:], bits)
	}
	b = append(b, seedBits)
	at = len(b)
	b = append(b, make([]byte, 8*wordsFor(uint64(len(seeds))*seedBits))...)
	for i, seed := range seeds {
		b[at+i/2] |= seed << (i % 2 * seedBits)
	}
	return b, nil
}

// key is a key that has no bit yet.
type key struct {
	sum   uint64 // its hash in the current level
	entry uint32
}

// level finds the best seed for each group of a level: the first one of those
// under which the most bits belong to exactly one key.
type level struct {
	best  []uint16 // for each group, the bits under the best seed so far
	seeds []uint8  // that seed
	once  []uint16 // the bits that a key has under the seed that is being tried
	more  []uint16 // and those that several keys have
}

func newLevel(keys int) *level {
	n := (keys + levelKeys - 1) / levelKeys * levelGroups
	return &level{best: make([]uint16, n), seeds: make([]uint8, n), once: make([]uint16, n), more: make([]uint16, n)}
}

// try replaces the seed of each group for which another one is better.
func (l *level) try(keys []key, seed uint32) {
	clear(l.once)
	clear(l.more)
	for i := range keys {
		group, bit := groupOf(keys[i].sum, uint32(len(l.best))), uint16(1)<<bitOf(keys[i].sum, seed)
		l.more[group] |= l.once[group] & bit
		l.once[group] |= bit
	}
	for group, once := range l.once {
		once &^= l.more[group]
		if bits.OnesCount16(once) > bits.OnesCount16(l.best[group]) {
			l.best[group], l.seeds[group] = once, uint8(seed)
		}
	}
}

// unplaced returns the keys that have no bit of their own in this level, in place.
func (l *level) unplaced(keys []key) []key {
	left := keys[:0]
	for _, key := range keys {
		group := groupOf(key.sum, uint32(len(l.best)))
		if l.best[group]>>bitOf(key.sum, uint32(l.seeds[group]))&1 == 0 {
			left = append(left, key)
		}
	}
	return left
}
