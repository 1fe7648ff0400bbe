// SPDX-License-Identifier: GPL-3.0-or-later

package rbd

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/ceph/go-ceph/rados"
	"golang.org/x/sys/unix"

	"winery/pool"
)

// CheckAccess implements [pool.Pool]: it asks for things that cannot be done, and
// looks whether Ceph refuses them before it notices that. OSDs and monitors compare a
// request with the caps of its user first.
func (p *Pool) CheckAccess(ctx context.Context, write bool) error {
	ceph, err := p.ceph.get(ctx)
	if err != nil {
		return err
	}
	defer p.ceph.count(-1)
	data, err := ceph.conn.OpenIOContext(p.settings.DataPool)
	if errno(err) == unix.ENOENT {
		return fmt.Errorf("pool %s: %w", p.Name(), missingPool(p.settings.DataPool, err))
	}
	if err != nil {
		return p.fail("open the data pool", "", err)
	}
	defer data.Destroy()
	absent := "winery_absent." + rand.Text()
	requests := []struct {
		what string
		send func() error
	}{
		{"read the images of pool " + p.Name(), func() error { return openAbsent(ceph.io, absent) }},
		{"read pool " + p.settings.DataPool, func() error { _, err := data.Stat(absent); return err }},
	}
	if write {
		requests = append(requests, []struct {
			what string
			send func() error
		}{
			{"write to pool " + p.Name(), func() error { return removeAbsent(ceph.io, absent) }},
			{"write to pool " + p.settings.DataPool, func() error { return removeAbsent(data, absent) }},
			{"put a dead writer on the blocklist", ceph.blocklistNobody},
		}...)
	}
	for _, r := range requests {
		switch err := r.send(); errno(err) {
		case 0, unix.ENOENT, unix.EINVAL: // allowed, and impossible
		case unix.EPERM, unix.EACCES:
			return &pool.AccessError{Pool: p.Name(), What: fmt.Sprintf("Ceph does not let %s %s", p.ceph.from.user, r.what), Cure: p.caps(write)}
		default:
			return p.fail(r.what, "", err)
		}
	}
	return nil
}

// caps is the command that gives this pool's user what it needs.
func (p *Pool) caps(write bool) string {
	caps := ReadCaps(p.Name(), p.settings.DataPool)
	if write {
		caps = WriteCaps(p.Name(), p.settings.DataPool)
	}
	return fmt.Sprintf("ceph auth caps %s mon '%s' osd '%s', and the user's other caps; then restart the roles; see `wineryctl ceph caps`",
		p.ceph.from.user, caps.Mon, caps.OSD)
}

// openAbsent calls the method of the OSDs by which librbd opens an image.
func openAbsent(io *rados.IOContext, name string) error {
	op := rados.CreateReadOp()
	defer op.Release()
	op.Exec("rbd", "get_id", nil)
	return op.Operate(io, name, rados.OperationNoFlag)
}

func removeAbsent(io *rados.IOContext, name string) error {
	op := rados.CreateWriteOp()
	defer op.Release()
	op.AssertExists()
	op.Remove()
	return op.Operate(io, name, rados.OperationNoFlag)
}

// blocklistNobody asks for a blocklist entry of what is no address.
func (l *link) blocklistNobody() error {
	_, _, err := l.conn.MonCommand([]byte(`{"prefix": "osd blocklist", "blocklistop": "add", "addr": "nobody/0"}`))
	return err
}
