// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic

import (
	"io"

	"winery/format"
)

// Format is Mosaic, for pools whose images have this format. Its fields say what
// images are written; any image can be read.
type Format struct {
	Zstd       bool // compress objects with zstd; else they are stored as they are
	Level      int  // of the compression, 0 to 22 as for libzstd, where 0 is 3; see the package comment
	Dictionary bool // compress with a dictionary trained from the first objects
}

var _ format.Format = Format{}

// Name implements [format.Format]: images with and without compression are of one format.
func (Format) Name() string { return "Mosaic" }

// MaxObjectSize is the size in bytes of the largest object that an image can hold.
const MaxObjectSize = 268_435_440

// Open implements [format.Format].
func (Format) Open(src io.ReaderAt, size int64, name string) (format.Reader, error) {
	r, err := Open(src, size, name)
	if err != nil {
		return nil, err // not a nil *Reader
	}
	return r, nil
}

// NewWriter implements [format.Format].
func (f Format) NewWriter(dst io.WriterAt, limit int64) (format.Writer, error) {
	w, err := NewWriter(f, dst, limit)
	if err != nil {
		return nil, err
	}
	return w, nil
}

const (
	keySize       = 32
	tileThreshold = 32_000_000 // bytes of objects after which a tile ends

	// An image starts with the EBML header and the head of Mosaic.
	ebmlHeader = "\x1a\x45\xdf\xa3\xa1\x42\x86\x81\x01\x42\xf7\x81\x01\x42\xf2\x81\x04\x42\xf3\x81\x08\x42\x82\x86mosaic\x42\x87\x81\x01\x42\x85\x81\x01"
	mosaicHead = 4 + 8
	startSize  = int64(len(ebmlHeader) + mosaicHead)

	// description says that keys are SHA-256 and which function the perfect hash is.
	description = "key:sha256 pkg:cargo/ph@0.10.0 swh:1:dir:795095368f036f42adebcb75782a61494940e9b8 ph::fmph::GOFunction"
)

// SizeBound implements [format.Format]: an object has an element's head, a frame that
// may be larger than its content, up to 45 bytes of index entry, and its part of the
// perfect hash.
func (f Format) SizeBound(objects, bytes int64) int64 {
	const start, each = 4096, 1 + 4 + 45 + 1
	size := start + bytes + each*objects + tileHead*(bytes/tileThreshold+1)
	if f.Zstd {
		size += maxFrame(bytes) - bytes + objects*maxFrame(0)
	}
	if f.Zstd && f.Dictionary {
		size += maxDictionary
	}
	return size
}
