// SPDX-License-Identifier: GPL-3.0-or-later

package rbd

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/ceph/go-ceph/rbd"

	"winery/pool"
)

// handle is an image open in librbd. ReadAt and WriteAt may be called
// concurrently; each call holds a thread.
type handle struct {
	pool  *Pool
	ceph  *link
	name  string
	image *rbd.Image
	size  int64

	closed bool
}

// Open implements [pool.Pool].
func (p *Pool) Open(ctx context.Context, name string) (pool.Image, error) {
	ceph, err := p.begin(ctx, name)
	if err != nil {
		return nil, err
	}
	defer p.ceph.count(-1)
	image, err := rbd.OpenImageReadOnly(ceph.io, name, rbd.NoSnapshot)
	if err != nil {
		return nil, p.fail("open", name, err)
	}
	h, err := p.handle(ceph, name, image)
	if err != nil {
		return nil, p.fail("open", name, err)
	}
	opened, err := h.direct()
	if err != nil {
		return nil, p.fail("open", name, err)
	}
	return opened, nil
}

// OpenMapped implements [pool.Pool].
func (p *Pool) OpenMapped(ctx context.Context, name string) (pool.Image, error) {
	if p.kernel == nil {
		image, err := p.Open(ctx, name)
		if errors.Is(err, pool.ErrNotFound) {
			err = fmt.Errorf("%w: %w", pool.ErrNotMapped, err)
		}
		return image, err
	}
	if err := pool.Check(ctx, name); err != nil {
		return nil, err
	}
	d, err := p.kernel.open(name)
	if err != nil {
		return nil, p.fail("open", name, err)
	}
	return d, nil
}

// Edit implements [pool.Pool].
func (p *Pool) Edit(ctx context.Context, name string, proof pool.Proof) (pool.Editor, error) {
	ceph, err := p.begin(ctx, name)
	if err != nil {
		return nil, err
	}
	defer p.ceph.count(-1)
	h, err := p.openLocked(ctx, ceph, name, false)
	if err != nil {
		return nil, p.fail("edit", name, err)
	}
	if err = h.alone(ctx, 0); err == nil {
		err = pool.Verify(ctx, proof)
	}
	if err != nil {
		return nil, errors.Join(p.fail("edit", name, err), h.Close())
	}
	return editor{h}, nil
}

// editor is an image that is changed in place.
type editor struct{ *handle }

func (e editor) InPlace() bool { return true }

func (e editor) Commit(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return e.Flush()
}

// openLocked opens an image for writing and takes its exclusive lock, which
// the handle keeps until it is closed; by force if need be, shutting out the
// process that has it. Its errors are Ceph's.
func (p *Pool) openLocked(ctx context.Context, ceph *link, name string, force bool) (*handle, error) {
	image, err := p.openWritable(ceph, name)
	if err != nil {
		return nil, err
	}
	err = ceph.evictLockHolder(ctx, image, force)
	if err == nil {
		err = image.LockAcquire(rbd.LockModeExclusive)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("exclusive lock: %w", err), image.Close())
	}
	return p.handle(ceph, name, image)
}

// openWritable opens an image for writing, and enables the feature exclusive-lock
// if the image does not have it.
func (p *Pool) openWritable(ceph *link, name string) (*rbd.Image, error) {
	image, err := rbd.OpenImage(ceph.io, name, rbd.NoSnapshot)
	if err != nil {
		return nil, err
	}
	features, err := image.GetFeatures()
	if err == nil && features&rbd.FeatureExclusiveLock != 0 {
		return image, nil
	}
	if err == nil {
		err = image.UpdateFeatures(rbd.FeatureExclusiveLock, true)
	}
	if err := errors.Join(err, image.Close()); err != nil {
		return nil, fmt.Errorf("the image has no exclusive lock; run `rbd feature enable %s/%s exclusive-lock`: %w", p.Name(), name, err)
	}
	return rbd.OpenImage(ceph.io, name, rbd.NoSnapshot) // a handle learns of a lock when it is opened
}

// handle takes an open image over.
func (p *Pool) handle(ceph *link, name string, image *rbd.Image) (*handle, error) {
	size, err := image.GetSize()
	if err != nil {
		return nil, errors.Join(err, image.Close())
	}
	p.ceph.count(1)
	return &handle{pool: p, ceph: ceph, name: name, image: image, size: int64(size)}, nil
}

func (h *handle) Size() int64 { return h.size }

func (h *handle) ReadAt(b []byte, off int64) (int, error) {
	if off < 0 {
		return 0, h.pool.fail("read", h.name, fmt.Errorf("negative offset %d", off))
	}
	want := len(b)
	b = b[:max(0, min(int64(want), h.size-off))]
	n, err := h.image.ReadAt(b, off)
	if err == nil && n < want {
		err = io.EOF
	}
	if errors.Is(err, io.EOF) {
		return n, err // bare, as io.ReaderAt's callers expect it
	}
	return n, h.pool.fail("read", h.name, err)
}

func (h *handle) WriteAt(b []byte, off int64) (int, error) {
	if off+int64(len(b)) > h.size {
		return 0, h.pool.fail("write", h.name, fmt.Errorf("%d bytes at %d reach past the image's end at %d", len(b), off, h.size))
	}
	n, err := h.image.WriteAt(b, off)
	return n, h.pool.fail("write", h.name, err)
}

func (h *handle) Flush() error { return h.pool.fail("flush", h.name, h.image.Flush()) }

// Close also releases the exclusive lock. A second Close does nothing, even if
// the first failed: librbd has freed the image nevertheless.
func (h *handle) Close() error {
	if h.closed {
		return nil
	}
	h.closed = true
	defer h.pool.ceph.count(-1)
	return h.pool.fail("close", h.name, h.image.Close())
}
