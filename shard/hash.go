// SPDX-License-Identifier: GPL-3.0-or-later

package shard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"winery/format"
)

// hash is a CHD_PH perfect hash function as libcmph dumps it. parseHash has
// followed every path that slot can take, so slot never fails.
//
// Each key belongs to a bucket, and each bucket has a displacement that sends its
// keys to slots of their own. The displacements are written one after the other
// in as few bits as each needs (codes). Where the code of bucket i ends is a sum
// kept in two parts: its low remBits bits in rems, and the rest in select, a bit
// vector in which the i-th one follows as many zeros as the value of the rest.
type hash struct {
	seed     uint32
	slots    uint32
	buckets  uint32
	remBits  uint32
	codeBits uint32 // length of codes
	ones     words  // the select bit vector
	oneAt    words  // positions of its ones 0, 128, 256 …
	rems     words
	codes    words
}

// words is a table of 32-bit words, little-endian as on the hosts that write them.
type words []byte

func (w words) at(i uint32) uint32 { return binary.LittleEndian.Uint32(w[4*uint64(i):]) }

// bits returns n < 32 bits from bit i on.
func (w words) bits(i, n uint32) uint32 {
	v := uint64(w.at(i >> 5))
	if i&31+n > 32 {
		v |= uint64(w.at(i>>5+1)) << 32
	}
	return uint32(v>>(i&31)) & (1<<n - 1)
}

func wordsFor(n uint64) uint64 { return (n + 31) / 32 }

// The dump: algorithm and slots, the Jenkins hash and its seed, the size of
// the displacements, the displacements, slots again, buckets.
const (
	dumpAlgorithm = "chd_ph\x00"
	dumpHash      = "\x0c\x00\x00\x00jenkins\x00"
	dumpPrefix    = len(dumpAlgorithm) + 4 + len(dumpHash) + 4 + 5*4 // up to the size of select
	oneStep       = 128
	maxCodeBits   = 31
	maxSlots      = 1 << 31
)

var errNotCHD = errors.New("not a CHD_PH function over Jenkins hashes")

// parsePrefix takes the sizes from the first dumpPrefix bytes of a dump, and
// returns how long the whole is: never more than a small multiple of the slots.
func parsePrefix(p []byte) (*hash, int64, error) {
	var h hash
	rest := p
	word := func() uint32 {
		v := binary.LittleEndian.Uint32(rest)
		rest = rest[4:]
		return v
	}
	text := func(want string) bool {
		got := string(rest[:len(want)])
		rest = rest[len(want):]
		return got == want
	}
	algorithm := text(dumpAlgorithm)
	h.slots = word()
	if !text(dumpHash) || !algorithm {
		return nil, 0, errNotCHD
	}
	h.seed = word()
	size := uint64(word())
	h.buckets, h.remBits, h.codeBits = word(), word(), word()
	selectSize := uint64(word())

	switch {
	case h.slots < 2 || h.slots > maxSlots:
		return nil, 0, fmt.Errorf("%d slots", h.slots)
	case h.buckets == 0 || h.buckets > h.slots:
		return nil, 0, fmt.Errorf("%d buckets for %d slots", h.buckets, h.slots)
	case h.remBits == 0 || h.remBits > maxCodeBits || uint64(h.buckets)*uint64(h.remBits) > 1<<32-1:
		return nil, 0, fmt.Errorf("remainders of %d bits", h.remBits)
	case uint64(h.codeBits) > uint64(h.buckets)*maxCodeBits:
		return nil, 0, fmt.Errorf("%d bits of displacements for %d buckets", h.codeBits, h.buckets)
	case selectSize != 4*(2+h.onesWords()+h.oneAtWords()):
		return nil, 0, fmt.Errorf("a select table of %d bytes", selectSize)
	case size != 16+selectSize+4*(h.remsWords()+h.codesWords()):
		return nil, 0, fmt.Errorf("displacements of %d bytes", size)
	}
	return &h, int64(dumpPrefix) - 16 + int64(size) + 8, nil
}

func (h *hash) zeros() uint32      { return h.codeBits >> h.remBits }
func (h *hash) onesWords() uint64  { return wordsFor(uint64(h.buckets) + uint64(h.zeros())) }
func (h *hash) oneAtWords() uint64 { return uint64(h.buckets/oneStep) + 1 }
func (h *hash) remsWords() uint64  { return wordsFor(uint64(h.buckets) * uint64(h.remBits)) }
func (h *hash) codesWords() uint64 { return wordsFor(uint64(h.codeBits)) }

// parseHash takes a whole dump, and keeps it.
func parseHash(dump []byte) (*hash, error) {
	if len(dump) < dumpPrefix {
		return nil, fmt.Errorf("only %d bytes", len(dump))
	}
	h, size, err := parsePrefix(dump)
	if err != nil {
		return nil, err
	}
	if int64(len(dump)) != size {
		return nil, fmt.Errorf("%d bytes instead of %d", len(dump), size)
	}
	rest := words(dump[dumpPrefix:])
	table := func(n uint64) words {
		t := rest[:4*n]
		rest = rest[4*n:]
		return t
	}
	head := table(2)
	h.ones, h.oneAt = table(h.onesWords()), table(h.oneAtWords())
	h.rems, h.codes = table(h.remsWords()), table(h.codesWords())
	switch {
	case head.at(0) != h.buckets || head.at(1) != h.zeros():
		return nil, fmt.Errorf("a select table for %d+%d instead of %d+%d bits", head.at(0), head.at(1), h.buckets, h.zeros())
	case rest.at(0) != h.slots || rest.at(1) != h.buckets:
		return nil, fmt.Errorf("%d slots and %d buckets, then %d and %d", h.slots, h.buckets, rest.at(0), rest.at(1))
	}
	return h, h.validate()
}

// validate walks through the code of every bucket.
func (h *hash) validate() error {
	var bucket uint32
	var end uint64
	for i := range uint32(len(h.ones) / 4) {
		for word := h.ones.at(i); word != 0; word &= word - 1 {
			at := i*32 + uint32(bits.TrailingZeros32(word))
			switch {
			case bucket == h.buckets:
				return fmt.Errorf("the select table has more than %d ones", h.buckets)
			case bucket%oneStep == 0 && h.oneAt.at(bucket/oneStep) != at:
				return fmt.Errorf("the select table misplaces its one %d", bucket)
			}
			next := uint64(at-bucket)<<h.remBits + uint64(h.rems.bits(bucket*h.remBits, h.remBits))
			if next < end || next > end+maxCodeBits || next > uint64(h.codeBits) {
				return fmt.Errorf("the code of bucket %d is at bits %d to %d of %d", bucket, end, next, h.codeBits)
			}
			end = next
			bucket++
		}
	}
	if bucket != h.buckets || end != uint64(h.codeBits) {
		return fmt.Errorf("codes for %d buckets in %d bits instead of %d in %d", bucket, end, h.buckets, h.codeBits)
	}
	return nil
}

// slot returns the key's slot, and for a key that the function was not built
// for any slot.
func (h *hash) slot(key *format.ObjID) int64 {
	a, b, c := jenkins(h.seed, key)
	return h.displaced(b, c, h.displacement(a%h.buckets))
}

// displaced returns the slot of a key with the hash sums b and c, whose bucket has a
// displacement.
func (h *hash) displaced(b, c, displacement uint32) int64 {
	n, d := uint64(h.slots), uint64(displacement)
	first, step := uint64(b)%n, uint64(c)%(n-1)+1
	return int64((first + step*(d%n) + d/n) % n)
}

func (h *hash) displacement(bucket uint32) uint32 {
	var start, at uint32
	if bucket == 0 {
		at = h.one(0)
	} else {
		at = h.one(bucket - 1)
		start = h.codeEnd(bucket-1, at)
		at = h.nextOne(at)
	}
	return h.codes.code(start, h.codeEnd(bucket, at)-start)
}

// code returns the displacement whose code has n bits from bit i on.
func (w words) code(i, n uint32) uint32 {
	if n == 0 {
		return 0
	}
	return w.bits(i, n) + (1<<n - 1)
}

// codeEnd returns where in codes the bucket's ends; at is the place of its one.
func (h *hash) codeEnd(bucket, at uint32) uint32 {
	return (at-bucket)<<h.remBits + h.rems.bits(bucket*h.remBits, h.remBits)
}

// one returns the place of the i-th one, counted from 0.
func (h *hash) one(i uint32) uint32 {
	at := h.oneAt.at(i / oneStep)
	i %= oneStep
	w := at / 32
	word := h.ones.at(w) &^ (1<<(at%32) - 1)
	for n := uint32(bits.OnesCount32(word)); i >= n; n = uint32(bits.OnesCount32(word)) {
		i -= n
		w++
		word = h.ones.at(w)
	}
	for ; i > 0; i-- {
		word &= word - 1
	}
	return w*32 + uint32(bits.TrailingZeros32(word))
}

// nextOne returns the place of the one that follows the one at a place.
func (h *hash) nextOne(at uint32) uint32 {
	at++
	w := at / 32
	var word uint32
	if at%32 != 0 {
		word = h.ones.at(w) &^ (1<<(at%32) - 1)
		w++
	}
	for ; word == 0; w++ {
		word = h.ones.at(w)
	}
	return (w-1)*32 + uint32(bits.TrailingZeros32(word))
}

// jenkins is Bob Jenkins' hash of 1996, of a key of 32 bytes, whole state.
func jenkins(seed uint32, key *format.ObjID) (a, b, c uint32) {
	word := func(i int) uint32 { return binary.LittleEndian.Uint32(key[4*i:]) }
	a, b, c = 0x9e3779b9+word(0), 0x9e3779b9+word(1), seed+word(2)
	a, b, c = jenkinsMix(a, b, c)
	a, b, c = jenkinsMix(a+word(3), b+word(4), c+word(5))
	return jenkinsMix(a+word(6), b+word(7), c+keySize)
}

func jenkinsMix(a, b, c uint32) (uint32, uint32, uint32) {
	a = (a - b - c) ^ c>>13
	b = (b - c - a) ^ a<<8
	c = (c - a - b) ^ b>>13
	a = (a - b - c) ^ c>>12
	b = (b - c - a) ^ a<<16
	c = (c - a - b) ^ b>>5
	a = (a - b - c) ^ c>>3
	b = (b - c - a) ^ a<<10
	c = (c - a - b) ^ b>>15
	return a, b, c
}
