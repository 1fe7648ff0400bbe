// SPDX-License-Identifier: GPL-3.0-or-later

package wire

import (
	"bytes"
	"io"
)

// Body is an encoded message in pieces: contents are in it by reference, so that a large object is not copied
// on its way out. It must not be used while those contents change.
type Body struct {
	pieces [][]byte
	length int64
	open   bool // the last piece belongs to this body and may grow
}

// copyBelow is the size under which copying a content is cheaper than a piece of its own.
const copyBelow = 4 << 10

// Len is the number of bytes that WriteTo writes.
func (b *Body) Len() int64 { return b.length }

// Write appends a copy of p. It never fails.
func (b *Body) Write(p []byte) (int, error) {
	if !b.open {
		b.pieces = append(b.pieces, nil)
		b.open = true
	}
	last := len(b.pieces) - 1
	b.pieces[last] = append(b.pieces[last], p...)
	b.length += int64(len(p))
	return len(p), nil
}

// WriteByte appends c. It never fails.
func (b *Body) WriteByte(c byte) error {
	_, err := b.Write([]byte{c})
	return err
}

// refer appends p itself where it is large.
func (b *Body) refer(p []byte) {
	if len(p) < copyBelow {
		_, _ = b.Write(p)
		return
	}
	b.pieces = append(b.pieces, p)
	b.open = false
	b.length += int64(len(p))
}

// WriteTo writes the body to w. It may be repeated.
func (b *Body) WriteTo(w io.Writer) (int64, error) {
	written := int64(0)
	for _, piece := range b.pieces {
		n, err := w.Write(piece)
		written += int64(n)
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// Reader reads the body from its start. Several may be in use.
func (b *Body) Reader() io.Reader {
	readers := make([]io.Reader, len(b.pieces))
	for i, piece := range b.pieces {
		readers[i] = bytes.NewReader(piece)
	}
	return io.MultiReader(readers...)
}
