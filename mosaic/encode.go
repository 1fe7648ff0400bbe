// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic

import (
	"io"

	"github.com/klauspost/compress/zstd"
)

const (
	// inMemory is the size up to which an object is compressed in memory.
	inMemory = 1 << 20
	// streamWindow is how far back a larger object is searched for the same bytes.
	streamWindow = 4 << 20
)

// encoder compresses contents. It is for one goroutine.
type encoder struct {
	options []zstd.EOption
	memory  *zstd.Encoder
	large   *zstd.Encoder // nil until an object needs it
}

// libraryLevel returns the level of the library that compresses at least as well as
// one of libzstd's, as far as there is one.
func libraryLevel(libzstd int, dictionary []byte) zstd.EncoderLevel {
	switch {
	case libzstd == 1 || libzstd == 2:
		return zstd.SpeedDefault
	case libzstd < 10 || dictionary != nil: // with which the best level takes 15 ms for each object
		return zstd.SpeedBetterCompression
	}
	return zstd.SpeedBestCompression
}

func newEncoder(level zstd.EncoderLevel, dictionary []byte) (*encoder, error) {
	e := &encoder{options: []zstd.EOption{
		zstd.WithEncoderLevel(level), zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true),
		zstd.WithEncoderCRC(false), zstd.WithZeroFrames(true), // the SHA-256 is a checksum
	}}
	if dictionary != nil {
		e.options = append(e.options, zstd.WithEncoderDict(dictionary))
	}
	var err error
	// A single segment always has the size of its content.
	e.memory, err = zstd.NewWriter(nil, append(e.options, zstd.WithWindowSize(inMemory), zstd.WithSingleSegment(true))...)
	return e, err
}

// encode appends the frame of a content of up to inMemory bytes.
func (e *encoder) encode(content, frame []byte) []byte { return e.memory.EncodeAll(content, frame) }

// stream writes the frame of a content of more bytes.
func (e *encoder) stream(w io.Writer, content io.Reader, size int64) (err error) {
	if e.large == nil {
		e.large, err = zstd.NewWriter(nil, append(e.options, zstd.WithWindowSize(streamWindow))...)
		if err != nil {
			return err
		}
	}
	e.large.ResetContentSize(w, size)
	n, err := e.large.ReadFrom(io.LimitReader(content, size))
	if err == nil && n < size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		e.large.Reset(nil)
		return err
	}
	return e.large.Close()
}

// maxFrame is the size of the largest frame of a content.
func maxFrame(size int64) int64 {
	const header, block = 4 + 1 + 1 + 4 + 8, 64 << 10
	return header + size + blockHeader*(size/block+1)
}
