// SPDX-License-Identifier: GPL-3.0-or-later

package rbd

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/ceph/go-ceph/rados"
	"github.com/ceph/go-ceph/rbd"
	"golang.org/x/sys/unix"

	"winery/pool"
)

// objects is an image opened for reading, whose bytes are read from the RADOS objects
// that hold them: librbd's layers take most of the CPU of a small read, and the
// threads of each open image memory. What Ceph's documentation calls the layout of
// an image, https://docs.ceph.com/en/latest/dev/rbd-layering/ and "rbd info", is
// fixed when the image is created.
type objects struct {
	pool       *Pool
	name       string
	data       *rados.IOContext
	prefix     string // of the names of the objects
	objectSize int64
	size       int64

	closed bool
}

// errLayout says that an image can only be read through librbd.
var errLayout = errors.New("the image has a parent, stripes, an old format, or is being migrated")

// direct returns the image of a handle, which it closes, to be read object by object. It
// returns the handle itself where the image can only be read through librbd.
func (h *handle) direct() (pool.Image, error) {
	o, err := h.objects()
	if errors.Is(err, errLayout) {
		return h, nil
	}
	if err := errors.Join(err, h.image.Close()); err != nil {
		h.pool.ceph.count(-1)
		return nil, err
	}
	return o, nil
}

func (h *handle) objects() (*objects, error) {
	features, err := h.image.GetFeatures()
	if err != nil {
		return nil, err
	}
	stripes, err := h.image.GetStripeCount()
	if err != nil {
		return nil, err
	}
	info, err := h.image.Stat()
	if err != nil {
		return nil, err
	}
	dataPool, err := h.image.GetDataPoolID()
	if err != nil {
		return nil, err
	}
	prefix, err := h.prefix(dataPool)
	if err != nil {
		return nil, err
	}
	_, noParent := h.image.GetParent()
	// Ceph cuts the prefix that it tells off at 23 bytes.
	if features&rbd.FeatureMigrating != 0 || stripes != 1 || !errors.Is(noParent, rbd.ErrNotFound) || !strings.HasPrefix(prefix, info.Block_name_prefix) {
		return nil, errLayout
	}
	data, err := h.ceph.dataPool(dataPool)
	if err != nil {
		return nil, err
	}
	return &objects{pool: h.pool, name: h.name, data: data, prefix: prefix, objectSize: int64(info.Obj_size), size: h.size}, nil
}

// prefix is how the names of the image's objects begin, as "rbd info" prints it.
func (h *handle) prefix(dataPool int64) (string, error) {
	id, err := h.image.GetId()
	if own := h.ceph.io.GetPoolID(); dataPool != own {
		return fmt.Sprintf("rbd_data.%d.%s", own, id), err
	}
	return "rbd_data." + id, err
}

func (o *objects) Size() int64 { return o.size }

func (o *objects) ReadAt(b []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, o.pool.fail("read", o.name, fmt.Errorf("negative offset %d", off))
	}
	for n < len(b) && off < o.size {
		within := off % o.objectSize
		part := b[n:min(int64(len(b)), int64(n)+o.objectSize-within, int64(n)+o.size-off)]
		if err := o.read(part, off/o.objectSize, within); err != nil {
			return n, o.pool.fail("read", o.name, err)
		}
		n += len(part)
		off += int64(len(part))
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// read reads a part of an object. What was never written, or was discarded, has no
// object, or is behind its end: it reads as zeros.
func (o *objects) read(b []byte, object, within int64) error {
	n, err := o.data.Read(fmt.Sprintf("%s.%016x", o.prefix, object), b, uint64(within))
	if errno(err) == unix.ENOENT {
		n, err = 0, nil
	}
	clear(b[n:])
	return err
}

// Close frees the image. A second Close does nothing.
func (o *objects) Close() error {
	if !o.closed {
		o.closed = true
		o.pool.ceph.count(-1)
	}
	return nil
}
