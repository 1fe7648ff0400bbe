// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic

import (
	"github.com/klauspost/compress/dict"
	"github.com/klauspost/compress/zstd"
)

const (
	maxDictionary   = 112 << 10 // as libzstd trains by default
	trainingBytes   = 4 << 20   // of contents, from which a dictionary is trained
	trainingObjects = 2000
	minTraining     = 16 // objects; fewer say little about the others
)

// train returns a dictionary for contents like the samples, or nil where none can be made of them.
func train(samples []sample, level zstd.EncoderLevel) (dictionary []byte) {
	var contents [][]byte
	for _, s := range samples {
		if len(s.content) >= 8 { // the builder's minimum
			contents = append(contents, s.content)
		}
	}
	if len(contents) < minTraining {
		return nil
	}
	// The builder panics on some inputs, such as equal ones.
	defer func() {
		if recover() != nil {
			dictionary = nil
		}
	}()
	b, err := dict.BuildZstdDict(contents, dict.Options{MaxDictSize: maxDictionary, HashBytes: 6, ZstdDictCompat: true, ZstdLevel: level})
	if err != nil {
		return nil
	}
	if _, err := newEncoder(level, b); err != nil {
		return nil
	}
	if _, err := newDecoder(methodDictionary, b); err != nil {
		return nil
	}
	return b
}
