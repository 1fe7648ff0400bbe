// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// Unfinished implements [format.Format]: the image has no EBML header. A header that is
// damaged is a header.
func (Format) Unfinished(src io.ReaderAt, size int64, name string) (bool, error) {
	start := make([]byte, min(startSize, size))
	if n, err := src.ReadAt(start, 0); n < len(start) && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("reading the EBML header of mosaic image %s: %w", name, err)
	}
	return bytes.Equal(start, make([]byte, len(start))), nil
}
