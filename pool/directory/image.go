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
	pool   *Pool
	name   string
	file   *os.File
	size   int64
	direct bool // file is read past the page cache
}

// Open implements [pool.Pool]. Open flushes dirty pages; reads come from the
// disk, past the page cache (O_DIRECT), but may come from a cache inside the
// disk. On a file system without O_DIRECT, the file is dropped from the page
// cache instead, which the kernel may ignore, and Settings.NoDirectIO is called.
func (p *Pool) Open(ctx context.Context, name string) (pool.Image, error) {
	img, err := p.openToRead(pool.WithoutCache(ctx), name)
	if err != nil {
		return nil, err
	}
	return img, nil
}

// openDisk opens an image's file, or its draft's, to be read from the disk.
func (p *Pool) openDisk(path, name string) (*image, error) {
	f, err := openDirect(path)
	direct := !errors.Is(err, unix.EINVAL)
	if !direct {
		p.noDirectIO(err)
		f, err = os.Open(path) //nolint:gosec // below the pool's directory
	}
	if err != nil {
		return nil, p.fail("open", name, err)
	}
	img, err := p.image(f, name)
	if err != nil {
		return nil, err
	}
	img.direct = direct
	if err = f.Sync(); err == nil && !direct {
		err = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	}
	if err != nil {
		return nil, errors.Join(p.fail("open", name, err), f.Close())
	}
	return img, nil
}

// OpenMapped implements [pool.Pool]. After [pool.WithoutCache] the image is read from the
// disk, as after Open: the page cache may hold other bytes.
func (p *Pool) OpenMapped(ctx context.Context, name string) (pool.Image, error) {
	img, err := p.openToRead(ctx, name)
	if errors.Is(err, pool.ErrNotFound) || (p.modes && errors.Is(err, fs.ErrPermission)) {
		return nil, fmt.Errorf("%w: %w", pool.ErrNotMapped, err)
	}
	if err != nil {
		return nil, err
	}
	info, err := img.file.Stat()
	if err == nil && !p.mapped(p.path(name), info) {
		err = pool.ErrNotMapped
	}
	if err != nil {
		return nil, errors.Join(p.fail("open", name, err), img.file.Close())
	}
	return img, nil
}

// openToRead is open for readers.
func (p *Pool) openToRead(ctx context.Context, name string) (*image, error) {
	if !pool.SkipsCache(ctx) {
		return p.open(ctx, name, os.O_RDONLY)
	}
	if err := pool.Check(ctx, name); err != nil {
		return nil, err
	}
	return p.openDisk(p.path(name), name)
}

// Edit implements [pool.Pool]. The file keeps its mode, so that readers on this
// host can read while objects are erased; only a process that could not open the
// file otherwise changes the mode, for that moment.
func (p *Pool) Edit(ctx context.Context, name string, proof pool.Proof) (pool.Editor, error) {
	img, err := p.openLocked(ctx, "edit", name, proof)
	if err != nil {
		return nil, err
	}
	return editor{img}, nil
}

// openLocked opens an image's file for writing, locks it, and verifies the proof. op is
// what the caller will do.
func (p *Pool) openLocked(ctx context.Context, op, name string, proof pool.Proof) (*image, error) {
	img, err := p.openWritable(ctx, name)
	if err != nil {
		return nil, err
	}
	locked, err := p.lock(img.file, name)
	if err == nil && locked == nil {
		err = fmt.Errorf("%w: another process has just replaced or removed it", unix.EWOULDBLOCK)
	}
	if err == nil {
		err = pool.Verify(ctx, proof)
	}
	if err != nil {
		return nil, errors.Join(p.fail(op, name, err), img.Close())
	}
	return img, nil
}

// flock is changed by tests.
var flock = unix.Flock

// lock locks an image's open file, so that no other process replaces or removes it. It
// returns nil if the image has another file by then, or none. On NFS 4 the file must be
// open for writing.
func (p *Pool) lock(f *os.File, name string) (fs.FileInfo, error) {
	if err := flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, err
	}
	locked, err := f.Stat()
	if err != nil {
		return nil, err
	}
	now, err := os.Stat(p.path(name))
	if err != nil || !os.SameFile(now, locked) {
		return nil, nil
	}
	return now, nil
}

// openWritable opens an image's file for writing, whatever its mode is.
func (p *Pool) openWritable(ctx context.Context, name string) (*image, error) {
	img, err := p.open(ctx, name, os.O_RDWR)
	if p.modes && errors.Is(err, fs.ErrPermission) {
		return p.openReadOnlyFile(ctx, name)
	}
	return img, err
}

// openReadOnlyFile opens for writing a file whose mode does not allow that.
func (p *Pool) openReadOnlyFile(ctx context.Context, name string) (*image, error) {
	info, err := p.stat(name)
	if err == nil {
		err = os.Chmod(p.path(name), modeWritable)
	}
	if err != nil {
		return nil, p.fail("edit", name, err)
	}
	img, err := p.open(ctx, name, os.O_RDWR)
	if chmodErr := os.Chmod(p.path(name), info.Mode()); err == nil && chmodErr != nil {
		return nil, errors.Join(p.fail("edit", name, chmodErr), img.Close())
	}
	return img, err
}

func (p *Pool) open(ctx context.Context, name string, flag int) (*image, error) {
	if err := pool.Check(ctx, name); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(p.path(name), flag, 0)
	if err != nil {
		return nil, p.fail("open", name, err)
	}
	return p.image(f, name)
}

func (p *Pool) image(f *os.File, name string) (*image, error) {
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errNoFile
	}
	if err != nil {
		return nil, errors.Join(p.fail("open", name, err), f.Close())
	}
	return &image{pool: p, name: name, file: f, size: info.Size()}, nil
}

func (i *image) Size() int64 { return i.size }

func (i *image) Close() error { return i.file.Close() }

func (i *image) ReadAt(b []byte, off int64) (int, error) {
	read := i.file.ReadAt
	if i.direct {
		read = func(b []byte, off int64) (int, error) { return readDirect(i.file, b, off) }
	}
	n, err := read(b, off)
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

// Flush leaves out the time of the change, which is not needed after a power cut, and
// would cost the file system a second flush of the device.
func (e editor) Flush() error {
	for {
		if err := unix.Fdatasync(int(e.file.Fd())); !errors.Is(err, unix.EINTR) {
			return e.pool.fail("flush", e.name, err)
		}
	}
}

func (e editor) InPlace() bool { return true }

// Commit implements [pool.Editor]: the file was changed in place.
func (e editor) Commit(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return e.Flush()
}

func (e editor) Close() error {
	if err := e.file.Close(); !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}
