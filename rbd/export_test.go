// SPDX-License-Identifier: GPL-3.0-or-later

package rbd

import (
	"context"
	"path/filepath"
	"time"

	"winery/pool"
)

// UseKernelAt makes the pool see root/sys and root/dev as /sys and /dev, and
// bounds its rbd commands.
func (p *Pool) UseKernelAt(root string, limit time.Duration) {
	p.kernel.sys, p.kernel.dev, p.kernel.limit = filepath.Join(root, "sys"), filepath.Join(root, "dev"), limit
}

// Fail calls the pool's method of that name.
func (p *Pool) Fail(op, name string, err error) error { return p.fail(op, name, err) }

// LimitCommands bounds the pool's rbd commands.
func (p *Pool) LimitCommands(limit time.Duration) { p.kernel.limit = limit }

// MapWritable does what Reserve does in the kernel.
func (p *Pool) MapWritable(ctx context.Context, name string) error {
	return p.kernel.mapWritable(ctx, name)
}

// UseIDs makes the kernel's part of the pool believe that these are the ids of
// the images in Ceph, by their names.
func (p *Pool) UseIDs(ids map[string]string) {
	p.kernel.ids = func(context.Context, string) (map[string]string, error) { return ids, nil }
}

// ImageIDs calls the pool's method of that name.
func (p *Pool) ImageIDs(ctx context.Context, prefix string) (map[string]string, error) {
	return p.imageIDs(ctx, prefix)
}

// SeeOSDMap waits until the pool's connection has the current map of Ceph's OSDs: no OSD
// answers by an older map than that of the client.
func (p *Pool) SeeOSDMap(ctx context.Context) error {
	ceph, err := p.ceph.get(ctx)
	if err != nil {
		return err
	}
	defer p.ceph.count(-1)
	return ceph.conn.WaitForLatestOSDMap()
}

// OwnerOf calls the owner by name.
func OwnerOf(cookie string) string { return [...]string{"process", "kernel", "hand"}[ownerOf(cookie)] }

// CloseBeneath closes a draft's image in librbd, so that closing the draft fails.
func CloseBeneath(d pool.Draft) error { return d.(*draft).image.Close() }
