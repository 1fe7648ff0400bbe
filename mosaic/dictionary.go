// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic

import (
	"cmp"
	"hash/crc32"
	"slices"

	"github.com/klauspost/compress/zstd"
)

const (
	maxDictionary   = 112 << 10 // as libzstd trains by default
	trainingBytes   = 4 << 20   // of contents, from which a dictionary is trained
	trainingObjects = 2000
	minDictionary   = 256      // bytes; a smaller one is not worth it
	trainingShare   = 32       // how much larger the samples are than the dictionary
	sampleStart     = 64 << 10 // bytes of a sample that count
)

// train returns a dictionary for contents like the samples, or nil where none can be
// made of them.
func train(samples []sample) (dictionary []byte) {
	var contents [][]byte
	total := 0
	for _, s := range samples {
		if len(s.content) >= ngram {
			contents = append(contents, s.content[:min(len(s.content), sampleStart)])
			total += len(contents[len(contents)-1])
		}
	}
	history := common(contents, min(maxDictionary, total/trainingShare))
	if len(history) < minDictionary {
		return nil
	}
	// The library is made for samples that resemble one another; on others it has panicked.
	defer func() {
		if recover() != nil {
			dictionary = nil
		}
	}()
	dictionary, err := zstd.BuildDict(zstd.BuildDictOptions{
		// The numbers below are for registered dictionaries, those above take 4 bytes a frame.
		ID:       1<<15 | crc32.ChecksumIEEE(history)&(1<<15-1),
		Contents: contents, History: history, Offsets: [3]int{1, 4, 8}, CompatV155: true,
		Level: zstd.SpeedDefault, // the best level takes seconds, for the same dictionary but for some tables
	})
	if err != nil {
		return nil
	}
	return dictionary
}

const (
	minSegment = 10 // bytes at least that go into the dictionary together
	maxSegment = 96 // and at most
)

// segment is a part of a dictionary.
type segment struct {
	bytes  []byte
	weight float64 // how many contents each of its bytes is of use to
}

// common returns up to size bytes of what most contents have in common, the most
// common last, where it is the cheapest to refer to. It consists of segments that
// sharedBy contents have, byte for byte: an erased object leaves nothing in it that is
// its own.
func common(contents [][]byte, size int) (history []byte) {
	c, err := newCorpus(contents)
	if err != nil {
		return nil
	}
	defer c.free()
	var segments []segment
	for at := 0; at+minSegment <= len(c.all); {
		s := c.take(c.all[at:min(at+maxSegment, len(c.all))])
		if len(s.bytes) == 0 {
			at++
			continue
		}
		segments = append(segments, s)
		at += len(s.bytes)
	}
	slices.SortStableFunc(segments, func(a, b segment) int { return cmp.Compare(a.weight, b.weight) })
	first := len(segments)
	for first > 0 && len(segments[first-1].bytes) <= size {
		first--
		size -= len(segments[first].bytes)
	}
	for _, s := range segments[first:] {
		history = append(history, s.bytes...)
	}
	return history
}

// take returns the longest segment that b begins with, or an empty one. No segment
// begins as another does, or as b did in vain, so that each sequence is looked for once.
func (c *corpus) take(b []byte) (s segment) {
	if c.count(b) < sharedBy {
		return s
	}
	n := c.shared(b)
	if n < minSegment {
		c.bucket(b).count = 0
		return s
	}
	s.bytes = b[:n]
	for at := range n - ngram + 1 {
		sequence := c.bucket(b[at:])
		s.weight += float64(sequence.count) / float64(n)
		sequence.count = 0
	}
	return s
}
