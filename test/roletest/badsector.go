// SPDX-License-Identifier: GPL-3.0-or-later

package roletest

import (
	"context"
	"io"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"winery/pool"
)

// BadSector is a pool whose images have a byte that cannot be read, until it is written.
type BadSector struct {
	pool.Pool
	At atomic.Int64 // negative: all can be read
}

func (s *BadSector) covers(b []byte, off int64) bool {
	at := s.At.Load()
	return off <= at && at < off+int64(len(b))
}

func (s *BadSector) read(from io.ReaderAt, b []byte, off int64) (int, error) {
	if s.covers(b, off) {
		return 0, unix.EIO
	}
	return from.ReadAt(b, off)
}

// Open implements [pool.Pool].
func (s *BadSector) Open(ctx context.Context, name string) (pool.Image, error) {
	img, err := s.Pool.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	return badImage{img, s}, nil
}

type badImage struct {
	pool.Image
	sector *BadSector
}

func (i badImage) ReadAt(b []byte, off int64) (int, error) {
	return i.sector.read(i.Image, b, off)
}

// Edit implements [pool.Pool].
func (s *BadSector) Edit(ctx context.Context, name string, proof pool.Proof) (pool.Editor, error) {
	e, err := s.Pool.Edit(ctx, name, proof)
	if err != nil {
		return nil, err
	}
	return badEditor{e, s}, nil
}

type badEditor struct {
	pool.Editor
	sector *BadSector
}

func (e badEditor) ReadAt(b []byte, off int64) (int, error) {
	return e.sector.read(e.Editor, b, off)
}

func (e badEditor) WriteAt(b []byte, off int64) (int, error) {
	if e.sector.covers(b, off) {
		e.sector.At.Store(-1)
	}
	return e.Editor.WriteAt(b, off)
}
