// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic

import (
	"cmp"
	"encoding/binary"
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
	ngram    = 8  // bytes that are counted together
	segment  = 96 // bytes that go into the dictionary together
	hashBits = 18
)

// common returns up to size bytes of what most contents have in common, the most
// common last, where it is the cheapest to refer to. It counts in how many contents
// each sequence of 8 bytes is, and takes of each part of the contents the segment
// whose sequences are the most frequent ones and in no other segment.
func common(contents [][]byte, size int) []byte {
	counts, last := make([]uint16, 1<<hashBits), make([]uint16, 1<<hashBits)
	for i, content := range contents {
		for at := range len(content) - ngram + 1 {
			if h := ngramHash(content[at:]); last[h] != uint16(i+1) {
				last[h] = uint16(i + 1)
				counts[h]++
			}
		}
	}
	type found struct {
		bytes []byte
		score int
	}
	var segments []found
	all := slices.Concat(contents...)
	parts := max(1, size/segment)
	for part := range slices.Chunk(all, max(segment, (len(all)+parts-1)/parts)) {
		if len(part) < segment {
			break
		}
		best, score, sum := 0, 0, 0
		value := func(at int) int { return int(counts[ngramHash(part[at:])]) - 1 }
		for at := range len(part) - ngram + 1 {
			sum += value(at)
			if before := at - (segment - ngram + 1); before >= 0 {
				sum -= value(before)
			}
			if sum > score {
				best, score = max(0, at+ngram-segment), sum
			}
		}
		if score == 0 {
			continue
		}
		s := part[best:][:segment]
		for at := range len(s) - ngram + 1 {
			counts[ngramHash(s[at:])] = 1
		}
		segments = append(segments, found{s, score})
	}
	slices.SortStableFunc(segments, func(a, b found) int { return cmp.Compare(a.score, b.score) })
	var history []byte
	for _, s := range segments {
		history = append(history, s.bytes...)
	}
	return history
}

func ngramHash(b []byte) uint32 {
	return uint32(binary.LittleEndian.Uint64(b) * 0x9e3779b97f4a7c15 >> (64 - hashBits))
}
