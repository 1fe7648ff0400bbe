// SPDX-License-Identifier: GPL-3.0-or-later

package rbd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"winery/pool"
)

// sentinels are the meanings of librbd's error numbers, and of the exit status
// of the rbd command, which is one too.
var sentinels = map[unix.Errno]error{
	unix.ENOENT:    pool.ErrNotFound,
	unix.EEXIST:    pool.ErrExists,
	unix.EDQUOT:    pool.ErrFull,
	unix.ENOSPC:    pool.ErrFull,
	unix.EROFS:     pool.ErrInUse, // another client has the exclusive lock
	unix.EBUSY:     pool.ErrInUse, // watched, or a device that is open
	unix.ESHUTDOWN: pool.ErrFenced,
	unix.ETIMEDOUT: pool.ErrUnavailable, // the monitors
	unix.EIO:       unix.EIO,            // as of a file: a part of the image cannot be read
}

// fail translates an error of librbd or of the rbd command; nil stays nil.
func (p *Pool) fail(op, name string, err error) error {
	if err == nil {
		return nil
	}
	what := strings.TrimSpace(op + " " + name)
	code := errno(err)
	if errors.As(err, new(pool.Refusal)) {
		code = 0 // a number in it is not Ceph's
	}
	if code == unix.EPERM || code == unix.EACCES {
		return fmt.Errorf("pool %s: %s: Ceph denies access to %s: %w; give this user the caps that `wineryctl ceph caps` prints for the role", p.Name(), what, p.ceph.from.user, err)
	}
	if kind := sentinels[code]; kind != nil {
		return fmt.Errorf("pool %s: %s: %w: %w", p.Name(), what, kind, err)
	}
	return fmt.Errorf("pool %s: %s: %w", p.Name(), what, err)
}

// begin is what every call with a name that needs Ceph begins with. On success the call
// ends by p.ceph.count(-1).
func (p *Pool) begin(ctx context.Context, name string) (*link, error) {
	if err := pool.Check(ctx, name); err != nil {
		return nil, err
	}
	return p.ceph.get(ctx)
}
