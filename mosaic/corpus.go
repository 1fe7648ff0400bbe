// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic

import (
	"encoding/binary"
	"slices"

	"winery/format"
)

const (
	ngram    = 8 // bytes that are counted together
	hashBits = 20

	// sharedBy is how many contents must have the same bytes before these can go into
	// a dictionary, where no erasure reaches them. With fewer, copies of one file could
	// be all that has them; with more, images are larger.
	sharedBy = 8
)

// corpus tells which bytes several contents have in common. It takes 4 bytes for each
// byte of the contents and 8 MiB, outside Go's heap.
type corpus struct {
	all     []byte   // the contents, one after the other
	ends    []int    // of each content in all
	buckets []bucket // of sequences of ngram bytes, by hash
	next    []uint32 // for each place in all, the next one of the same bucket, plus 1, or 0
}

type bucket struct {
	first uint32 // place of its sequences, plus 1, or 0
	count uint16 // contents that have one; 0 once a segment has it, or none can begin with it
	last  uint16 // the content that was counted last, plus 1
}

// newCorpus counts in how many contents each sequence is. Each content has ngram bytes
// at least; there are fewer than 1<<16.
func newCorpus(contents [][]byte) (*corpus, error) {
	c := &corpus{all: slices.Concat(contents...)}
	for end := 0; len(c.ends) < len(contents); {
		end += len(contents[len(c.ends)])
		c.ends = append(c.ends, end)
	}
	var err error
	if c.buckets, err = format.Reallocate[bucket](nil, 1<<hashBits); err != nil {
		return nil, err
	}
	if c.next, err = format.Reallocate[uint32](nil, len(c.all)); err != nil {
		c.free()
		return nil, err
	}
	for i, content := range slices.Backward(contents) { // so that first is the first
		for at := c.ends[i] - ngram; at >= c.ends[i]-len(content); at-- {
			b := c.bucket(c.all[at:])
			c.next[at], b.first = b.first, uint32(at+1)
			if b.last != uint16(i+1) {
				b.last = uint16(i + 1)
				b.count++
			}
		}
	}
	return c, nil
}

func (c *corpus) free() {
	_, _ = format.Reallocate(c.buckets, 0)
	_, _ = format.Reallocate(c.next, 0)
	c.buckets, c.next = nil, nil
}

func (c *corpus) bucket(b []byte) *bucket {
	return &c.buckets[binary.LittleEndian.Uint64(b)*0x9e3779b97f4a7c15>>(64-hashBits)]
}

// count returns how many contents have the first ngram bytes of b, or others of the
// same hash.
func (c *corpus) count(b []byte) int { return int(c.bucket(b).count) }

// shared returns how many of the first bytes of b sharedBy contents have, byte for byte.
func (c *corpus) shared(b []byte) int {
	var longest [sharedBy]int // bytes, of the contents that have most of them, ascending
	content, here := 0, 0
	for at := int(c.bucket(b).first) - 1; at >= 0; at = int(c.next[at]) - 1 {
		if at >= c.ends[content] {
			if insert(&longest, here); longest[0] == len(b) {
				return len(b)
			}
			for here = 0; at >= c.ends[content]; content++ {
			}
		}
		if here < len(b) {
			here = max(here, equal(b, c.all[at:c.ends[content]]))
		}
	}
	insert(&longest, here)
	return longest[0]
}

// insert replaces the smallest number, if n is larger.
func insert(ascending *[sharedBy]int, n int) {
	if n > ascending[0] {
		ascending[0] = n
		slices.Sort(ascending[:])
	}
}

// equal returns how many bytes a and b have in common from the start.
func equal(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}
