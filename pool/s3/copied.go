// SPDX-License-Identifier: GPL-3.0-or-later

package s3

import (
	"cmp"
	"context"
	"io"
	"slices"
	"sort"
)

// pinned reads one version of an image. Its error is pool.ErrExists once another version
// has replaced it.
type pinned struct {
	pool *Pool
	ctx  context.Context //nolint:containedctx // ReadAt has none
	name string
	object
}

func (v pinned) ReadAt(b []byte, off int64) (int, error) {
	part, eof := clipToSize(b, off, v.size)
	n, err := v.pool.read(v.ctx, v.pool.patience, v.name, v.etag, part, off)
	if err != nil {
		return n, err
	}
	return n, eof
}

// copied reads what a local copy must have: the version that was copied, read again, and
// in it what was written to the copy.
type copied struct {
	version pinned
	local   io.ReaderAt
	written []extent // sorted and disjoint
}

// extent is a range of bytes, without the last.
type extent struct{ from, to int64 }

func (c copied) ReadAt(b []byte, off int64) (int, error) {
	n, err := c.version.ReadAt(b, off)
	end := off + int64(n)
	first := sort.Search(len(c.written), func(i int) bool { return c.written[i].to > off })
	for _, w := range c.written[first:] {
		if w.from >= end {
			break
		}
		from, to := max(w.from, off), min(w.to, end)
		if _, err := c.local.ReadAt(b[from-off:to-off], from); err != nil {
			return 0, err
		}
	}
	return n, err
}

// merged sorts extents, and merges those that overlap or touch.
func merged(extents []extent) (disjoint []extent) {
	slices.SortFunc(extents, func(a, b extent) int { return cmp.Compare(a.from, b.from) })
	for _, x := range extents {
		if last := len(disjoint) - 1; last >= 0 && x.from <= disjoint[last].to {
			disjoint[last].to = max(disjoint[last].to, x.to)
		} else {
			disjoint = append(disjoint, x)
		}
	}
	return disjoint
}
