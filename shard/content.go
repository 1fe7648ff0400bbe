// SPDX-License-Identifier: GPL-3.0-or-later

package shard

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"

	"winery/format"
)

// RestoreContent implements [format.Format]. The content must have the length that the
// object had, as one that has its SHA-256 does.
func (Format) RestoreContent(ctx context.Context, img format.Device, size int64, name string, content []byte) error {
	id := format.ObjID(sha256.Sum256(content))
	r, err := Open(img, size, name)
	if err != nil {
		return err
	}
	buf := make([]byte, blockSize)
	_, position, err := r.locate(id, buf)
	if err != nil {
		return fmt.Errorf("the index entry of object %x has no usable position: %w", id, err)
	}
	if err := r.isolated(ctx, position, position+lengthSize+int64(len(content))); err != nil {
		return err
	}
	e := eraser{Reader: r, img: img}
	length := binary.BigEndian.AppendUint64(nil, uint64(len(content)))
	in := io.MultiReader(bytes.NewReader(length), bytes.NewReader(content))
	for at := position; ; {
		n, err := io.ReadFull(in, buf)
		if n == 0 {
			return img.Flush()
		}
		if err := e.write(buf[:n], at); err != nil {
			return err
		}
		at += int64(n)
		if err != nil { // the last, short block
			return img.Flush()
		}
	}
}

// isolated requires that [begin, end) has no object except the one at begin, as
// far as undamaged entries show.
func (r *Reader) isolated(ctx context.Context, begin, end int64) error {
	before := int64(-1)
	err := r.scanAll(ctx, func(_ int64, e *entry, damage error) error {
		if damage != nil || *e == unused {
			return nil
		}
		p := int64(e.position())
		if p > begin && p < end {
			return fmt.Errorf("%w: object %x starts at %d, within %d to %d", format.ErrLayout, e.key(), p, begin, end)
		}
		if p < begin {
			before = max(before, p)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if end > r.info.IndexPosition {
		return fmt.Errorf("%w: the object would end at %d, beyond %d", format.ErrLayout, end, r.info.IndexPosition)
	}
	if before < 0 {
		return nil
	}
	in := span{Reader: r, buf: make([]byte, headSize), next: before, end: r.info.IndexPosition}
	length, err := in.length(ctx, r.info.IndexPosition)
	if err == nil && before+lengthSize+length > begin {
		return fmt.Errorf("%w: the object at %d reaches beyond %d", format.ErrLayout, before, begin)
	}
	return nil // a damaged neighbour proves nothing
}

// Mend implements [format.Format]: the objects tell nothing of the rest of an SWHShard.
func (Format) Mend(context.Context, format.Device, int64, string) (bool, error) { return false, nil }
