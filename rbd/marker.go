// SPDX-License-Identifier: GPL-3.0-or-later

package rbd

import (
	"context"
	"fmt"

	"github.com/ceph/go-ceph/rados"
	"golang.org/x/sys/unix"

	"winery/pool"
)

// markerObject is the RADOS object that holds the marker, in the pool of the
// images. No object of an image has such a name.
const markerObject = "winery_marker"

// maxMarker is the maximum number of bytes that are read of a marker.
const maxMarker = 64 << 10

// Init implements [pool.Pool]. It connects, which gives pool.ErrNoPool where
// there is no such pool.
func (p *Pool) Init(ctx context.Context) error {
	_, err := p.ceph.get(ctx)
	if err == nil {
		p.ceph.count(-1)
	}
	return err
}

// Marker implements [pool.Pool].
func (p *Pool) Marker(ctx context.Context) ([]byte, error) {
	ceph, err := p.ceph.get(ctx)
	if err != nil {
		return nil, err
	}
	defer p.ceph.count(-1)
	marker := make([]byte, maxMarker)
	n, err := ceph.io.Read(markerObject, marker, 0)
	if errno(err) == unix.ENOENT {
		return nil, fmt.Errorf("pool %s: %w (RADOS object %s)", p.Name(), pool.ErrNoMarker, markerObject)
	}
	if err != nil {
		return nil, p.fail("read the marker", "", err)
	}
	return marker[:n], nil
}

// SetMarker implements [pool.Pool].
func (p *Pool) SetMarker(ctx context.Context, marker []byte, replace bool) error {
	ceph, err := p.ceph.get(ctx)
	if err != nil {
		return err
	}
	defer p.ceph.count(-1)
	op := rados.CreateWriteOp()
	defer op.Release()
	if !replace {
		op.Create(rados.CreateExclusive)
	}
	op.WriteFull(marker)
	return p.fail("write the marker", "", op.Operate(ceph.io, markerObject, rados.OperationNoFlag))
}
