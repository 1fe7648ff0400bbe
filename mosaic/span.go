// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"

	"winery/format"
)

// zeroBytes is the content of what was erased.
var zeroBytes [64 << 10]byte

// span reads a run of an image's bytes in order, through a large buffer.
type span struct {
	*Reader
	buf    []byte
	ahead  []byte // read into buf, but not taken
	next   int64  // position of the byte after ahead
	end    int64  // where reading ahead stops
	crc    uint32 // checksum of what was taken
	room   []byte // for a content
	report func(bytes int64)
}

// at returns the position of the next byte to take.
func (s *span) at() int64 { return s.next - int64(len(s.ahead)) }

// seek continues at another offset.
func (s *span) seek(position int64) { s.ahead, s.next = nil, position }

// peek reads n bytes, which must fit into the buffer, without taking them; fewer
// before the end.
func (s *span) peek(ctx context.Context, n int64) ([]byte, error) {
	if int64(len(s.ahead)) < n && s.next < s.end {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		had := copy(s.buf, s.ahead)
		block := s.buf[had:min(int64(len(s.buf)), int64(had)+s.end-s.next)]
		if err := s.read(block, s.next); err != nil {
			return nil, err
		}
		s.ahead = s.buf[:had+len(block)]
		s.next += int64(len(block))
		if s.report != nil {
			s.report(int64(len(block)))
		}
	}
	return s.ahead[:min(n, int64(len(s.ahead)))], nil
}

// take returns the next bytes: n at most, one at least. It must not go past end.
func (s *span) take(ctx context.Context, n int64) ([]byte, error) {
	if _, err := s.peek(ctx, 1); err != nil {
		return nil, err
	}
	p := s.ahead[:min(n, int64(len(s.ahead)))]
	s.ahead = s.ahead[len(p):]
	s.crc = updateCRC(s.crc, p)
	return p, nil
}

// skip takes n bytes.
func (s *span) skip(ctx context.Context, n int64) error {
	for n > 0 {
		p, err := s.take(ctx, n)
		if err != nil {
			return err
		}
		n -= int64(len(p))
	}
	return nil
}

// head takes the head of an element that ends before end.
func (s *span) head(ctx context.Context, end int64) (head, error) {
	position := s.at()
	b, err := s.peek(ctx, min(maxHead, end-position))
	if err != nil {
		return head{}, err
	}
	h, err := parseHead(b)
	if err != nil || h.size > end-position-h.length {
		return head{}, s.damaged(position, "no element that ends before %d", end)
	}
	return h, s.skip(ctx, h.length)
}

// stored reads the n stored bytes of an object.
type stored struct {
	*span
	ctx context.Context
	n   int64
}

func (s *stored) Read(p []byte) (int, error) {
	if s.n == 0 {
		return 0, io.EOF
	}
	b, err := s.take(s.ctx, min(s.n, int64(len(p))))
	s.n -= int64(len(b))
	return copy(p, b), err
}

// content takes the n stored bytes of an object, and returns the SHA-256 and the size
// of its content.
func (s *span) content(ctx context.Context, n int64) (sum format.ObjID, size int64, err error) {
	if n <= inMemory && n <= int64(len(s.buf)) {
		return s.small(ctx, n)
	}
	first, err := s.peek(ctx, min(frameHead, n))
	if err != nil {
		return sum, 0, err
	}
	if err := s.believe(ctx, s.at(), n, first); err != nil {
		return sum, 0, err
	}
	in := s.decoder.stream(&stored{s, ctx, n})
	defer in.Close()
	h := sha256.New()
	size, err = io.Copy(h, in)
	return format.ObjID(h.Sum(nil)), size, err
}

// small is content where all is in memory at once.
func (s *span) small(ctx context.Context, n int64) (sum format.ObjID, size int64, err error) {
	b, err := s.peek(ctx, n)
	if err != nil {
		return sum, 0, err
	}
	size, known, err := s.decoder.size(n, b)
	if err != nil {
		return sum, 0, err
	}
	if !known || size > inMemory {
		if err := s.believe(ctx, s.at(), n, b); err != nil {
			return sum, 0, err
		}
		in := s.decoder.stream(bytes.NewReader(b))
		defer in.Close()
		h := sha256.New()
		size, err = io.Copy(h, in)
		sum = format.ObjID(h.Sum(nil))
	} else {
		content := b
		if s.decoder.compressed {
			content, err = s.decoder.decode(b, size, s.room)
			s.room = content
		}
		sum = sha256.Sum256(content)
	}
	if err != nil {
		return sum, 0, err
	}
	return sum, size, s.skip(ctx, n)
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
			return s.damaged(at, "bytes other than zero among %d bytes that were erased", len(p))
		}
		n -= int64(len(p))
	}
	return nil
}

// object takes the object id, which ends before end, and returns the size of its content.
func (s *span) object(ctx context.Context, id format.ObjID, end int64) (int64, error) {
	position := s.at()
	h, err := s.head(ctx, end)
	if err != nil {
		return 0, err
	}
	if h.id != idObject {
		return 0, s.damaged(position, "object %x has an element of another type, %x", id, uint32(h.id))
	}
	sum, size, err := s.content(ctx, h.size)
	if err != nil {
		return 0, s.contentError(id, position, err)
	}
	if sum != id {
		return size, s.damaged(position, "object %x of %d bytes has SHA-256 %x", id, size, sum)
	}
	return size, nil
}
