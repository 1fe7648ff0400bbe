// SPDX-License-Identifier: GPL-3.0-or-later

package rbd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ceph/go-ceph/rados"
	"github.com/ceph/go-ceph/rbd"
	"golang.org/x/sys/unix"

	"winery/pool"
)

// draft is a locked image that was empty.
type draft struct {
	*handle
	proof pool.ReplaceProof
	over  bool
}

// Create implements [pool.Pool].
func (p *Pool) Create(ctx context.Context, name string, room int64, proof pool.ReplaceProof) (pool.Draft, error) {
	ceph, err := p.begin(ctx, name)
	if err != nil {
		return nil, err
	}
	defer p.ceph.count(-1)
	if err := pool.Verify(ctx, proof); err != nil {
		return nil, p.fail("create", name, err)
	}
	if err := p.hasRoom(ceph, name, room); err != nil {
		return nil, p.fail("create", name, err)
	}
	h, leftover, err := p.openAlone(ctx, ceph, name, room, proof)
	if err != nil {
		return nil, p.fail("create", name, err)
	}
	err = h.alone(ctx, watchLimit)
	if err == nil && leftover {
		err = pool.MayReplace(ctx, proof, h)
	}
	if err == nil { // comparing may have taken hours
		err = pool.Verify(ctx, proof)
	}
	if err == nil && leftover {
		err = h.wipe(ctx)
	}
	if err == nil && h.size < room {
		err = h.grow(room)
	}
	if err != nil {
		return nil, errors.Join(p.fail("create", name, err), h.Close())
	}
	return &draft{handle: h, proof: proof}, nil
}

// openAlone opens and locks an image to write, and creates it if necessary and
// allowed. leftover: the image existed before.
func (p *Pool) openAlone(ctx context.Context, ceph *link, name string, room int64, proof pool.Proof) (h *handle, leftover bool, err error) {
	g, err := ceph.guard(name)
	if err != nil {
		return nil, false, err
	}
	defer func() {
		if released := g.release(); released != nil && err == nil {
			h, err = nil, errors.Join(released, h.Close())
		}
	}()
	if !p.settings.CreateImages {
		h, err := p.openLocked(ctx, ceph, name, true)
		if errno(err) == unix.ENOENT {
			err = fmt.Errorf("create_images is false and the image does not exist; run winery-rbd-mapper with --manage-rw-images: %w", err)
		}
		return h, true, err
	}
	for {
		err := p.newImage(ceph.io, name, room)
		leftover := errors.Is(err, rbd.ErrExist)
		if err != nil && !leftover {
			return nil, false, err
		}
		h, err := p.openLocked(ctx, ceph, name, true)
		if errno(err) != unix.ENOENT || !leftover {
			return h, leftover, err
		}
		// Its creation was interrupted: the name is taken, the rest missing.
		if err := pool.Verify(ctx, proof); err != nil {
			return nil, false, err
		}
		if err := rbd.RemoveImage(ceph.io, name); err != nil {
			return nil, false, err
		}
	}
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

// wipe removes every object that holds bytes of the image. The image's header goes
// first: a process that dies meanwhile leaves an image that was never finished, not one
// that is damaged.
func (h *handle) wipe(ctx context.Context) error {
	const (
		header = 4 << 10 // a format's, or its beginning: one write, however small the objects
		step   = 1 << 30 // librbd refuses more than 2 GiB; small enough to check ctx often
	)
	if _, err := h.image.Discard(0, uint64(min(header, h.size))); err != nil {
		return err
	}
	if err := h.image.Flush(); err != nil {
		return err
	}
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

// grow makes room in an image of which an earlier attempt needed less.
func (h *handle) grow(room int64) error {
	size := wholeMiB(uint64(room))
	if err := h.image.Resize(size); err != nil {
		return err
	}
	h.size = int64(size)
	return nil
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
	// A client that could write to the image still can after its lock is
	// released.
	err := d.alone(ctx, watchLimit)
	if err == nil {
		err = pool.Verify(ctx, d.proof)
	}
	if err != nil {
		return d.pool.fail("commit", d.name, err)
	}
	d.over = true
	return d.Close()
}

// flush fails if ctx has ended, the draft was committed or aborted already, or was taken over.
func (d *draft) flush(ctx context.Context, op string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if d.over {
		return d.pool.fail(op, d.name, errors.New("the draft was committed or aborted already"))
	}
	if err := d.Flush(); err != nil {
		return err
	}
	// A holder whose last write came before the takeover has not noticed it.
	return d.pool.fail(op, d.name, d.ceph.stillHas(d.image))
}

// abortLimit bounds the question to the proof: the database may be unavailable.
const abortLimit = 10 * time.Second

// Abort wipes the image, which gives its space back, and leaves it for the next
// Create. It does not touch an image that was taken over, nor one without the right to
// change it: all of it may have been written, and others, who need no lock to read, may
// rely on it since the claim was lost.
func (d *draft) Abort(ctx context.Context) error {
	if d.over {
		return nil
	}
	d.over = true
	ctx = context.WithoutCancel(ctx)
	asking, cancel := context.WithTimeout(ctx, abortLimit)
	defer cancel()
	err := pool.Verify(asking, d.proof)
	if err == nil {
		err = d.ceph.stillHas(d.image)
	}
	if err == nil {
		err = d.wipe(ctx)
	}
	if errors.As(err, new(pool.Refusal)) || errno(err) == unix.ESHUTDOWN {
		err = nil
	}
	return errors.Join(d.pool.fail("abort", d.name, err), d.Close())
}
