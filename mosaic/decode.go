// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"
)

const (
	methodNone       = "none"
	methodZstd       = "zstd"
	methodDictionary = "zstd.dict"

	// maxWindow is the largest window of the levels up to 22 of libzstd.
	maxWindow = 128 << 20
)

// frameHead is as much of an object as says how large its content is.
const frameHead = zstd.HeaderMaxSize

// decoder turns what an image stores of an object into the object's content. It is
// safe for concurrent use.
type decoder struct {
	compressed bool
	memory     *zstd.Decoder // for what is in memory
	streams    *sync.Pool    // of *zstd.Decoder, each for one stream at a time
}

// errContent says that stored bytes are not what the image's method makes of a content.
var errContent = errors.New("not a zstd frame of a content")

var plainDecoder = sync.OnceValues(func() (*decoder, error) { return newZstdDecoder() })

func newDecoder(method string, dictionary []byte) (*decoder, error) {
	switch {
	case method == methodNone && dictionary == nil:
		return &decoder{}, nil
	case method == methodZstd && dictionary == nil:
		return plainDecoder()
	case method == methodDictionary && dictionary != nil:
		return newZstdDecoder(zstd.WithDecoderDicts(dictionary))
	}
	return nil, fmt.Errorf("compression method %q with a dictionary of %d bytes", method, len(dictionary))
}

func newZstdDecoder(options ...zstd.DOption) (*decoder, error) {
	options = append(options, zstd.WithDecoderMaxMemory(MaxObjectSize), zstd.WithDecoderMaxWindow(maxWindow))
	// Without goroutines, which would never end: these decoders are not closed.
	streaming := append([]zstd.DOption{zstd.WithDecoderConcurrency(1), zstd.WithDecodeBuffersBelow(0)}, options...)
	memory, err := zstd.NewReader(nil, append(options, zstd.WithDecoderConcurrency(0), zstd.WithDecodeAllCapLimit(true))...)
	if err != nil {
		return nil, err
	}
	streams := &sync.Pool{New: func() any {
		d, err := zstd.NewReader(nil, streaming...)
		if err != nil { // the same options were right above
			panic(err)
		}
		return d
	}}
	return &decoder{compressed: true, memory: memory, streams: streams}, nil
}

// size returns the size of the content of which so many bytes are stored, from the
// first of these; and false where they do not say it.
func (d *decoder) size(stored int64, first []byte) (size int64, ok bool, err error) {
	if !d.compressed {
		return stored, true, nil
	}
	h, err := frameHeader(stored, first)
	return int64(h.FrameContentSize), h.HasFCS, err
}

// frameHeader returns the header of a frame of so many bytes, from the first of these. It
// refuses sizes that the decoder refuses, or that so few bytes cannot have: a block takes
// 4 bytes at least.
func frameHeader(stored int64, first []byte) (h zstd.Header, err error) {
	err = h.Decode(first[:min(int64(len(first)), stored)])
	limit := min(MaxObjectSize, uint64(stored/(blockHeader+1)*maxBlock))
	if err != nil || h.Skippable || h.WindowSize > maxWindow || h.FrameContentSize > limit {
		return zstd.Header{}, errContent
	}
	return h, nil
}

// decode returns the content of size bytes, in room if that is large enough.
func (d *decoder) decode(stored []byte, size int64, room []byte) ([]byte, error) {
	if int64(cap(room)) < size || room == nil {
		room = make([]byte, 0, size)
	}
	if !d.compressed {
		return append(room[:0], stored...), nil
	}
	content, err := d.memory.DecodeAll(stored, room[:0:size])
	if err != nil || int64(len(content)) != size {
		return nil, errContent
	}
	return content, nil
}

// stream returns a reader of the content of what stored reads; its errors are those
// of stored, or [errContent]. The reader must be closed.
func (d *decoder) stream(stored io.Reader) io.ReadCloser {
	if !d.compressed {
		return io.NopCloser(stored)
	}
	s := &contentStream{source: &source{Reader: stored}, decoder: d, zstd: d.streams.Get().(*zstd.Decoder)}
	s.err = s.zstd.Reset(s.source)
	return s
}

// contentStream is the content of a frame that is read bit by bit.
type contentStream struct {
	source  *source
	decoder *decoder
	zstd    *zstd.Decoder
	size    int64
	err     error
}

func (s *contentStream) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.zstd.Read(p)
	s.size += int64(n)
	switch {
	case s.source.err != nil:
		err = s.source.err
	case s.size > MaxObjectSize, err != nil && !errors.Is(err, io.EOF):
		err = errContent
	}
	s.err = err
	return n, err
}

func (s *contentStream) Close() error {
	_ = s.zstd.Reset(nil)
	s.decoder.streams.Put(s.zstd)
	return nil
}

// source keeps the error of a reader.
type source struct {
	io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}
