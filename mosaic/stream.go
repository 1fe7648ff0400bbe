// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic

import (
	"fmt"
	"io"
	"slices"
	"sync"

	"winery/format"
)

const (
	blockSize = 4 << 20 // as large as the objects of an RBD image
	blocks    = 8       // four at most wait for a place to be filled in
)

// stream writes bytes in order into aligned blocks, and blocks to the device as they
// fill, several at once. A place that is reserved keeps its block in memory until
// it is filled in; one place of the tile and one of an object can wait at a time. Only fail
// and failed are safe for concurrent use.
type stream struct {
	dst   io.WriterAt
	limit int64       // where the device ends
	end   int64       // where the next byte goes
	block *block      // what is being filled, nil between two blocks
	kept  []*block    // full, but with a place that is not filled in
	free  chan []byte // unused blocks
	room  []byte      // all blocks

	writes sync.WaitGroup
	mu     sync.Mutex
	err    error
}

// block is a part of the image in memory.
type block struct {
	at     int64 // its place on the device
	bytes  []byte
	places int // in it that are not filled in
}

func newStream(dst io.WriterAt, at, limit int64) (*stream, error) {
	room, err := format.Reallocate[byte](nil, blocks*blockSize)
	if err != nil {
		return nil, err
	}
	s := &stream{dst: dst, limit: limit, end: at, room: room, free: make(chan []byte, blocks)}
	for i := range blocks {
		s.free <- room[i*blockSize:][:blockSize]
	}
	return s, nil
}

// release waits for writes in flight and frees the blocks.
func (s *stream) release() {
	s.writes.Wait()
	_, _ = format.Reallocate(s.room, 0)
	s.room = nil
}

// fail keeps the first error, which stays.
func (s *stream) fail(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
	return s.err
}

func (s *stream) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// fits fails the stream unless there is room for n more bytes.
func (s *stream) fits(n int64) error {
	if n > s.limit-s.end {
		return s.fail(fmt.Errorf("%w: %d bytes at %d, of %d", format.ErrTooLarge, n, s.end, s.limit))
	}
	return s.failed()
}

// space returns where the next bytes go: room for one at least.
func (s *stream) space() []byte {
	if s.block == nil {
		s.block = &block{at: s.end, bytes: (<-s.free)[:blockSize-s.end%blockSize]}
	}
	return s.block.bytes[s.end-s.block.at:]
}

// advance says that n bytes of space are filled.
func (s *stream) advance(n int) {
	s.end += int64(n)
	if b := s.block; s.end-b.at == int64(len(b.bytes)) {
		s.block = nil
		if b.places > 0 {
			s.kept = append(s.kept, b)
		} else {
			s.flush(b)
		}
	}
}

// flush hands a block to a goroutine that writes it.
func (s *stream) flush(b *block) {
	s.writes.Go(func() {
		if s.failed() == nil {
			if _, err := s.dst.WriteAt(b.bytes, b.at); err != nil {
				_ = s.fail(fmt.Errorf("writing %d bytes of a mosaic image at %d: %w", len(b.bytes), b.at, err))
			}
		}
		s.free <- b.bytes[:blockSize]
	})
}

// Write implements [io.Writer].
func (s *stream) Write(p []byte) (int, error) {
	if err := s.fits(int64(len(p))); err != nil {
		return 0, err
	}
	for left := p; len(left) > 0; {
		n := copy(s.space(), left)
		s.advance(n)
		left = left[n:]
	}
	return len(p), nil
}

// readFrom takes exactly n bytes from r, without a copy in between, and returns
// how they continue a checksum.
func (s *stream) readFrom(r io.Reader, n int64, crc uint32) (uint32, error) {
	if err := s.fits(n); err != nil {
		return crc, err
	}
	for n > 0 && s.failed() == nil {
		space := s.space()
		got, err := io.ReadFull(r, space[:min(n, int64(len(space)))])
		crc = updateCRC(crc, space[:got])
		s.advance(got)
		if err != nil {
			return crc, err
		}
		n -= int64(got)
	}
	return crc, s.failed()
}

// reserve leaves a place of n bytes out, to be filled in later.
func (s *stream) reserve(n int) (place int64, err error) {
	place = s.end
	if err := s.fits(int64(n)); err != nil {
		return 0, err
	}
	for n > 0 {
		got := min(n, len(s.space()))
		s.block.places++
		s.advance(got)
		n -= got
	}
	return place, nil
}

// fill fills in a place.
func (s *stream) fill(place int64, p []byte) {
	s.kept = slices.DeleteFunc(s.kept, func(b *block) bool {
		if !b.fill(place, p) || b.places > 0 {
			return false
		}
		s.flush(b)
		return true
	})
	if s.block != nil {
		s.block.fill(place, p)
	}
}

// fill copies what the block has of a place, if any.
func (b *block) fill(place int64, p []byte) bool {
	from, to := max(place, b.at), min(place+int64(len(p)), b.at+int64(len(b.bytes)))
	if from >= to {
		return false
	}
	copy(b.bytes[from-b.at:to-b.at], p[from-place:])
	b.places--
	return true
}

// wait writes out what was gathered and waits for all writes.
func (s *stream) wait() error {
	if b := s.block; b != nil {
		s.block = nil
		b.bytes = b.bytes[:s.end-b.at]
		s.flush(b)
	}
	s.writes.Wait()
	return s.failed()
}
