// SPDX-License-Identifier: GPL-3.0-or-later

package shard

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// Unfinished tells whether an image, on a device of size bytes, has no header: its
// Writer never began, or was interrupted, so that nobody has ever relied on it. A
// header that is damaged is a header.
func Unfinished(src io.ReaderAt, size int64, name string) (bool, error) {
	header := make([]byte, min(headerSize, size))
	if n, err := src.ReadAt(header, 0); n < len(header) && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("reading the header of shard image %s: %w", name, err)
	}
	return bytes.Equal(header, make([]byte, len(header))), nil
}
