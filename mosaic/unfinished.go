// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// Unfinished implements [format.Format]: the image has no EBML header, or, where Python
// was interrupted, metadata with a place for what is only known at the end: the tiles end
// nowhere. A header or metadata that are damaged are not unfinished.
func (Format) Unfinished(src io.ReaderAt, size int64, name string) (bool, error) {
	start := make([]byte, min(firstRead, size))
	if n, err := src.ReadAt(start, 0); n < len(start) && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("reading the metadata of mosaic image %s: %w", name, err)
	}
	if start := start[:min(startSize, size)]; bytes.Equal(start, make([]byte, len(start))) {
		return true, nil
	}
	rest, ok := bytes.CutPrefix(start, []byte(ebmlHeader))
	if !ok {
		return false, nil
	}
	// The size of the first element is another place for what is known at the end.
	var h head
	for _, id := range []elementID{idMosaic, idMetadata} {
		var err error
		if h, err = parseHead(rest); err != nil || h.id != id {
			return false, nil //nolint:nilerr // it is damaged
		}
		rest = rest[h.length:]
	}
	var m metadata
	return m.parse(rest[:min(h.size, int64(len(rest)))]) == nil && m.intact() && m.endOfTiles == 0, nil
}
