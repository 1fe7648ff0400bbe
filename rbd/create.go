// SPDX-License-Identifier: GPL-3.0-or-later

package rbd

import (
	"context"
	"errors"
	"fmt"

	"github.com/ceph/go-ceph/rados"
	"github.com/ceph/go-ceph/rbd"
	"golang.org/x/sys/unix"

	"winery/pool"
)

// draft is a locked image that was empty.
type draft struct {
	*handle
	over bool
}

// Create implements [pool.Pool]. Taking an image over from a writer that was
// killed less than half a minute ago waits for the rest of that time.
func (p *Pool) Create(ctx context.Context, name string, room int64) (pool.Draft, error) {
	ceph, err := p.begin(ctx, name)
	if err != nil {
		return nil, err
	}
	h, leftover, err := p.openNew(ceph, name, room)
	if err != nil {
		return nil, p.fail("create", name, err)
	}
	if leftover {
		if err := h.wipe(ctx); err != nil {
			return nil, errors.Join(p.fail("wipe", name, err), h.Close())
		}
	}
	return &draft{handle: h}, nil
}

// openNew opens and locks an image to write, and makes it if need be and
// allowed. leftover: it was there before.
func (p *Pool) openNew(ceph *rados.IOContext, name string, room int64) (h *handle, leftover bool, err error) {
	if !p.settings.CreateImages {
		h, err := p.openReserved(ceph, name, room)
		return h, true, err
	}
	err = p.newImage(ceph, name, room)
	leftover = errors.Is(err, rbd.ErrExist)
	if err != nil && !leftover {
		return nil, false, err
	}
	h, err = p.openLocked(ceph, name)
	interrupted := errno(err) == unix.ENOENT // its creation was: the name is taken, the rest is missing
	tooSmall := err == nil && h.size < room
	if !leftover || !interrupted && !tooSmall {
		return h, leftover, err
	}
	if tooSmall {
		if err := h.Close(); err != nil {
			return nil, false, err
		}
	}
	if err := rbd.RemoveImage(ceph, name); err != nil {
		return nil, false, err
	}
	if err := p.newImage(ceph, name, room); err != nil {
		return nil, false, err
	}
	h, err = p.openLocked(ceph, name)
	return h, false, err
}

// openReserved opens and locks an image that Reserve, or somebody else, made.
func (p *Pool) openReserved(ceph *rados.IOContext, name string, room int64) (*handle, error) {
	h, err := p.openLocked(ceph, name)
	if errno(err) == unix.ENOENT {
		return nil, fmt.Errorf("create_images is false and nobody made the image; run winery-rbd-mapper with --manage-rw-images: %w", err)
	}
	if err == nil && h.size < room {
		return nil, errors.Join(fmt.Errorf("create_images is false and the image has %d bytes of the %d that are needed; "+
			"remove it, or let the packer create images", h.size, room), h.Close())
	}
	return h, err
}

// newImage makes an image of the pool's features, and of its size or what room
// asks for beyond that.
func (p *Pool) newImage(ceph *rados.IOContext, name string, room int64) error {
	o := rbd.NewRbdImageOptions()
	defer o.Destroy()
	err := errors.Join(
		o.SetUint64(rbd.ImageOptionFeatures, p.features),
		o.SetString(rbd.ImageOptionDataPool, p.settings.DataPool),
	)
	if err != nil {
		return err
	}
	err = rbd.CreateImage(ceph, name, max(p.size, wholeMiB(uint64(room))), o)
	if errno(err) == unix.ENOENT {
		return missingPool(p.settings.DataPool, err)
	}
	return err
}

// wholeMiB rounds up.
func wholeMiB(size uint64) uint64 {
	const mib = 1 << 20
	return (size + mib - 1) / mib * mib
}

// wipe removes every object that holds bytes of the image.
func (h *handle) wipe(ctx context.Context) error {
	const step = 1 << 30 // librbd refuses more than 2 GiB; small enough to hear of ctx
	for off := int64(0); off < h.size; off += step {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := h.image.Discard(uint64(off), uint64(min(step, h.size-off))); err != nil {
			return err
		}
	}
	return h.image.Flush()
}

// Open opens the image a second time, which its lock does not hinder.
func (d *draft) Open(ctx context.Context) (pool.Image, error) {
	if err := d.flush(ctx, "open"); err != nil {
		return nil, err
	}
	return d.pool.Open(ctx, d.name)
}

func (d *draft) Commit(ctx context.Context) error {
	if err := d.flush(ctx, "commit"); err != nil {
		return err
	}
	d.over = true
	return d.Close()
}

// flush fails if ctx has ended or the draft is over.
func (d *draft) flush(ctx context.Context, op string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if d.over {
		return d.pool.fail(op, d.name, errors.New("the draft is over"))
	}
	return d.Flush()
}

// Abort leaves the image, for the next Create to wipe.
func (d *draft) Abort(context.Context) error {
	d.over = true
	return d.Close()
}
