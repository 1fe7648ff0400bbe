// SPDX-License-Identifier: GPL-3.0-or-later

package directory

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"winery/pool"
)

// image is an open file, for reading or erasing.
type image struct {
	pool *Pool
	name string
	file *os.File
	size int64
}

// Open implements [pool.Pool]. It writes out what the kernel still has to
// write and drops the file from the page cache, so that reads come from the
// disk; what the disk itself caches is out of reach.
func (p *Pool) Open(ctx context.Context, name string) (pool.Image, error) {
	img, err := p.open(ctx, name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	return p.fromDisk(img)
}

// fromDisk sees to it that img is read from the disk.
func (p *Pool) fromDisk(img *image) (pool.Image, error) {
	err := img.file.Sync()
	if err == nil {
		err = unix.Fadvise(int(img.file.Fd()), 0, 0, unix.FADV_DONTNEED)
	}
	if err != nil {
		return nil, errors.Join(p.fail("open", img.name, err), img.file.Close())
	}
	return img, nil
}

// OpenMapped implements [pool.Pool].
func (p *Pool) OpenMapped(ctx context.Context, name string) (pool.Image, error) {
	img, err := p.open(ctx, name, os.O_RDONLY)
	if errors.Is(err, pool.ErrNotFound) || (p.modes && errors.Is(err, fs.ErrPermission)) {
		return nil, fmt.Errorf("%w: %w", pool.ErrNotMapped, err)
	}
	if err != nil {
		return nil, err
	}
	info, err := img.file.Stat()
	if err == nil && !p.mapped(info) {
		err = pool.ErrNotMapped
	}
	if err != nil {
		return nil, errors.Join(p.fail("open", name, err), img.file.Close())
	}
	return img, nil
}

// Edit implements [pool.Pool]. The file keeps its mode, so that readers on
// this host are not turned away while objects are erased; only a process that
// needs the mode to open the file changes it, for that moment.
func (p *Pool) Edit(ctx context.Context, name string) (pool.Editor, error) {
	img, err := p.open(ctx, name, os.O_RDWR)
	if p.modes && errors.Is(err, fs.ErrPermission) {
		img, err = p.openReadOnlyFile(ctx, name)
	}
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(img.file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(p.fail("edit", name, err), img.file.Close())
	}
	return editor{img}, nil
}

// openReadOnlyFile opens for writing a file whose mode does not allow that.
func (p *Pool) openReadOnlyFile(ctx context.Context, name string) (*image, error) {
	if err := os.Chmod(p.path(name), modeWritable); err != nil {
		return nil, p.fail("edit", name, err)
	}
	img, err := p.open(ctx, name, os.O_RDWR)
	if err := os.Chmod(p.path(name), modeMapped); err != nil {
		return nil, errors.Join(p.fail("edit", name, err), img.Close())
	}
	return img, err
}

func (p *Pool) open(ctx context.Context, name string, flag int) (*image, error) {
	if err := p.check(ctx, name); err != nil {
		return nil, err
	}
	return p.openFile(p.path(name), name, flag)
}

// openFile opens an image's file, or its draft's.
func (p *Pool) openFile(path, name string, flag int) (*image, error) {
	f, err := os.OpenFile(path, flag, 0) //nolint:gosec // below the pool's directory
	if err != nil {
		return nil, p.fail("open", name, err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(p.fail("open", name, err), f.Close())
	}
	return &image{pool: p, name: name, file: f, size: info.Size()}, nil
}

func (i *image) Size() int64 { return i.size }

func (i *image) Close() error { return i.file.Close() }

func (i *image) ReadAt(b []byte, off int64) (int, error) {
	n, err := i.file.ReadAt(b, off)
	if errors.Is(err, io.EOF) {
		return n, err // bare, as io.ReaderAt's callers expect it
	}
	return n, i.pool.fail("read", i.name, err)
}

// editor is an image that may be written to.
type editor struct{ *image }

func (e editor) WriteAt(b []byte, off int64) (int, error) {
	if off+int64(len(b)) > e.size {
		return 0, e.pool.fail("erase", e.name, fmt.Errorf("write of %d bytes at %d past the end at %d", len(b), off, e.size))
	}
	n, err := e.file.WriteAt(b, off)
	return n, e.pool.fail("erase", e.name, err)
}

func (e editor) Flush() error { return e.pool.fail("flush", e.name, e.file.Sync()) }

func (e editor) Close() error {
	if err := e.file.Close(); !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}
