// SPDX-License-Identifier: GPL-3.0-or-later

package roletest

import (
	"context"
	"sync/atomic"

	"winery/pool"
)

// WrongMapping is a pool on a host whose mapping returns other bytes than the
// store: the mapping is old, or the host's memory is bad.
type WrongMapping struct {
	pool.Pool
	// Wrong changes bytes that were read from an image at an offset.
	Wrong func(b []byte, off int64)
	// Curable says that an image that is mapped again is right.
	Curable bool
	// Unmaps counts the calls of Unmap.
	Unmaps atomic.Int64

	cured atomic.Bool
}

// FlipAt flips a bit of the byte at an offset of an image.
func FlipAt(at int64) func([]byte, int64) {
	return func(b []byte, off int64) {
		if i := at - off; i >= 0 && i < int64(len(b)) {
			b[i] ^= 1
		}
	}
}

// Unmap implements [pool.Pool].
func (w *WrongMapping) Unmap(ctx context.Context, name string) error {
	w.Unmaps.Add(1)
	w.cured.Store(w.Curable)
	return w.Pool.Unmap(ctx, name)
}

// OpenMapped implements [pool.Pool].
func (w *WrongMapping) OpenMapped(ctx context.Context, name string) (pool.Image, error) {
	img, err := w.Pool.OpenMapped(ctx, name)
	if err != nil || w.cured.Load() {
		return img, err
	}
	return wrongImage{img, w.Wrong}, nil
}

type wrongImage struct {
	pool.Image
	wrong func([]byte, int64)
}

func (i wrongImage) ReadAt(b []byte, off int64) (int, error) {
	n, err := i.Image.ReadAt(b, off)
	i.wrong(b[:n], off)
	return n, err
}
