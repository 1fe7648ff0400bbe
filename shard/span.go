// SPDX-License-Identifier: GPL-3.0-or-later

package shard

import (
	"bytes"
	"context"
	"crypto/sha256"

	"winery/format"
)

// zeroBytes is the content of erased ranges.
var zeroBytes [64 << 10]byte

// span reads a run of an image's bytes in order, through a large buffer.
type span struct {
	*Reader
	buf    []byte
	ahead  []byte // read into buf, but not taken
	next   int64  // position of the byte after ahead
	end    int64  // where reading ahead stops
	report func(bytes int64)
}

// at returns the position of the next byte to take.
func (s *span) at() int64 { return s.next - int64(len(s.ahead)) }

// seek continues at another offset.
func (s *span) seek(position int64) { s.ahead, s.next = nil, position }

// take returns the next bytes: n at most, one at least. It must not go past end.
func (s *span) take(ctx context.Context, n int64) ([]byte, error) {
	if len(s.ahead) == 0 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		// Up to the next block, which on RBD is another object.
		block := s.buf[:min(int64(len(s.buf)), s.end-s.next, blockSize-s.next%blockSize)]
		if err := s.read(block, s.next); err != nil {
			return nil, err
		}
		s.ahead = block
		s.next += int64(len(block))
		if s.report != nil {
			s.report(int64(len(block)))
		}
	}
	p := s.ahead[:min(n, int64(len(s.ahead)))]
	s.ahead = s.ahead[len(p):]
	return p, nil
}

// length takes the length of an object that ends before end.
func (s *span) length(ctx context.Context, end int64) (int64, error) {
	position := s.at()
	if end-position < lengthSize {
		return s.checkLength(nil, position, end)
	}
	var head [lengthSize]byte
	for n := 0; n < lengthSize; {
		p, err := s.take(ctx, int64(lengthSize-n))
		if err != nil {
			return 0, err
		}
		n += copy(head[n:], p)
	}
	return s.checkLength(head[:], position, end)
}

// sum takes n bytes and returns their SHA-256.
func (s *span) sum(ctx context.Context, n int64) (sum format.ObjID, err error) {
	if n <= int64(len(s.ahead)) { // most objects
		sum = sha256.Sum256(s.ahead[:n])
		s.ahead = s.ahead[n:]
		return sum, nil
	}
	h := sha256.New()
	for n > 0 {
		p, err := s.take(ctx, n)
		if err != nil {
			return sum, err
		}
		h.Write(p)
		n -= int64(len(p))
	}
	return format.ObjID(h.Sum(sum[:0])), nil
}

// zeros takes n bytes, which must all be zero.
func (s *span) zeros(ctx context.Context, n int64) error {
	for n > 0 {
		at := s.at()
		p, err := s.take(ctx, min(n, int64(len(zeroBytes))))
		if err != nil {
			return err
		}
		if !bytes.Equal(p, zeroBytes[:len(p)]) {
			return s.damaged(at, "bytes other than zero in a gap of %d bytes between objects", len(p))
		}
		n -= int64(len(p))
	}
	return nil
}

// object takes the object id, which ends before end, and returns its length.
func (s *span) object(ctx context.Context, id format.ObjID, end int64) (int64, error) {
	position := s.at()
	size, err := s.length(ctx, end)
	if err != nil {
		return 0, err
	}
	sum, err := s.sum(ctx, size)
	if err == nil && sum != id {
		err = s.damaged(position, "object %x of %d bytes has SHA-256 %x", id, size, sum)
	}
	return size, err
}
