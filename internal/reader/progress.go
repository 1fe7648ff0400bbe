// SPDX-License-Identifier: GPL-3.0-or-later

package reader

import "io"

// readSize is the most that is read of an image at once: what a device that does not hang
// gives well within [Options.HangAfter].
const readSize = 8 << 20

// progress reads an image piece by piece, and tells its gate of each piece: a large object
// that takes long to read is no image that hangs.
type progress struct {
	src  io.ReaderAt
	gate *gate
}

func (p progress) ReadAt(b []byte, at int64) (n int, err error) {
	for n < len(b) && err == nil {
		var read int
		read, err = p.src.ReadAt(b[n:min(len(b), n+readSize)], at+int64(n))
		n += read
		p.gate.answer()
	}
	return n, err
}
