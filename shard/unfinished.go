// SPDX-License-Identifier: GPL-3.0-or-later

package shard

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// Unfinished implements [format.Format]: the image has no header. A header that is
// damaged is a header.
func (Format) Unfinished(src io.ReaderAt, size int64, name string) (bool, error) {
	header := make([]byte, min(headerSize, size))
	if n, err := src.ReadAt(header, 0); n < len(header) && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("reading the header of shard image %s: %w", name, err)
	}
	return bytes.Equal(header, make([]byte, len(header))), nil
}
