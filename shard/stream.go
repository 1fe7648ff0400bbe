// SPDX-License-Identifier: GPL-3.0-or-later

package shard

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"winery/format"
)

const (
	blockSize   = 4 << 20 // as large as the objects of an RBD image
	blocksAhead = 8       // being written at once
)

// stream writes bytes in order into aligned blocks, and blocks to the device
// as they fill, several at once. Only fail and failed are safe for concurrent use.
type stream struct {
	dst   io.WriterAt
	end   int64       // where the next byte goes
	block []byte      // what is being filled, nil between two blocks
	at    int64       // its place on the device
	free  chan []byte // unused blocks
	room  []byte      // all blocks

	writes sync.WaitGroup
	mu     sync.Mutex
	err    error
}

func newStream(dst io.WriterAt, at int64) (*stream, error) {
	room, err := format.Reallocate[byte](nil, (blocksAhead+1)*blockSize)
	if err != nil {
		return nil, fmt.Errorf("allocating write buffers: %w", err)
	}
	s := &stream{dst: dst, end: at, room: room, free: make(chan []byte, blocksAhead+1)}
	for i := range blocksAhead + 1 {
		s.free <- room[i*blockSize:][:blockSize]
	}
	return s, nil
}

// release waits for writes in flight and frees the blocks.
func (s *stream) release() {
	s.writes.Wait()
	s.room, _ = format.Reallocate(s.room, 0)
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

// space returns where the next bytes go: room for one at least.
func (s *stream) space() []byte {
	if s.block == nil {
		s.block = (<-s.free)[:blockSize-s.end%blockSize]
		s.at = s.end
	}
	return s.block[s.end-s.at:]
}

// advance says that n bytes of space are filled.
func (s *stream) advance(n int) {
	s.end += int64(n)
	if s.end-s.at == int64(len(s.block)) {
		s.flush()
	}
}

// flush hands the block being filled to a goroutine that writes it.
func (s *stream) flush() {
	if s.block == nil {
		return
	}
	block, at := s.block[:s.end-s.at], s.at
	s.block = nil
	s.writes.Go(func() {
		if s.failed() == nil {
			if _, err := s.dst.WriteAt(block, at); err != nil {
				_ = s.fail(fmt.Errorf("writing %d bytes of a shard image at %d: %w", len(block), at, err))
			}
		}
		s.free <- block[:blockSize]
	})
}

func (s *stream) write(p []byte) {
	for len(p) > 0 {
		n := copy(s.space(), p)
		s.advance(n)
		p = p[n:]
	}
}

func (s *stream) writeLength(n int64) {
	s.write(binary.BigEndian.AppendUint64(nil, uint64(n)))
}

// readFrom takes exactly n bytes from r, without a copy in between.
func (s *stream) readFrom(r io.Reader, n int64) error {
	for n > 0 && s.failed() == nil {
		space := s.space()
		got, err := io.ReadFull(r, space[:min(n, int64(len(space)))])
		s.advance(got)
		if err != nil {
			return err
		}
		n -= int64(got)
	}
	return s.failed()
}

// wait writes out what was gathered and waits for all writes.
func (s *stream) wait() error {
	s.flush()
	s.writes.Wait()
	return s.failed()
}
