// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic

import (
	"github.com/klauspost/compress/zstd"
)

// A frame whose window is larger than believedSize makes its decoder allocate as much
// at once. Such windows come of levels above 20 of libzstd and objects that are as
// large. Before they are allocated, the frame must have as many blocks as the content
// needs: a size that is wrong has not.

const (
	blockHeader = 3       // of a block: whether it is the last one, its type, its size
	maxBlock    = 1 << 17 // bytes of content in a block
)

// believe refuses a frame, of n bytes at a position, whose window is larger than its blocks
// explain. The first bytes are those of the frame.
func (r *Reader) believe(start, n int64, first []byte) error {
	var h zstd.Header
	if !r.decoder.compressed {
		return nil
	}
	if err := h.Decode(first[:min(int64(len(first)), n)]); err != nil {
		return errContent
	}
	window := h.WindowSize
	if h.SingleSegment {
		window = h.FrameContentSize
	}
	if window <= believedSize {
		return nil
	}
	if h.HasFCS {
		window = h.FrameContentSize
	}
	var b [blockHeader]byte
	for at, blocks := start+int64(h.HeaderSize), uint64(1); ; blocks++ {
		if at > start+n-blockHeader {
			return errContent
		}
		if err := r.read(b[:], at); err != nil {
			return err
		}
		header := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16
		last, kind, size := header&1 != 0, header>>1&3, int64(header>>3)
		switch {
		case blocks*maxBlock >= window:
			return nil
		case last:
			return errContent
		}
		if kind == 1 { // the same byte many times
			size = 1
		}
		at += blockHeader + size
	}
}
