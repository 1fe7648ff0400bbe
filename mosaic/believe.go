// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic

import "context"

// A frame whose window is larger than believedSize makes its decoder allocate as much
// at once. Such windows come of levels above 20 of libzstd and objects that are as
// large. Before they are allocated, the frame must have as many blocks as the content
// needs: a size that is wrong has not.

// What RFC 8878 says of blocks.
const (
	blockHeader = 3       // bytes: whether the block is the last one, its type, its size
	maxBlock    = 1 << 17 // bytes of content in a block

	blockRLE        = 1 // one byte, which the content repeats
	blockCompressed = 2
)

// believe refuses a frame, of n bytes at a position, whose window is larger than its blocks
// explain. The first bytes are those of the frame.
func (r *Reader) believe(ctx context.Context, start, n int64, first []byte) error {
	if !r.decoder.compressed {
		return nil
	}
	h, err := frameHeader(n, first)
	window := h.WindowSize
	if h.SingleSegment {
		window = h.FrameContentSize
	}
	if err != nil || window <= believedSize {
		return err
	}
	left := int64(window)
	if h.HasFCS {
		left = int64(h.FrameContentSize)
	}
	in := span{Reader: r, buf: make([]byte, scanBytes), next: start + int64(h.HeaderSize), end: start + n}
	for {
		b, err := in.peek(ctx, blockHeader)
		if err != nil {
			return err
		}
		if len(b) < blockHeader {
			return errContent
		}
		header := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16
		last, kind, content := header&1 != 0, header>>1&3, int64(header>>3)
		size := content
		switch kind {
		case blockRLE:
			size = 1
		case blockCompressed:
			content = maxBlock
		}
		if left -= content; left <= 0 {
			return nil
		}
		if last || blockHeader+size > in.end-in.at() {
			return errContent
		}
		if err := in.skip(ctx, blockHeader+size); err != nil {
			return err
		}
	}
}
