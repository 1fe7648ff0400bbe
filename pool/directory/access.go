// SPDX-License-Identifier: GPL-3.0-or-later

package directory

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"winery/pool"
)

// CheckAccess implements [pool.Pool]: it asks for the rights to the folder.
func (p *Pool) CheckAccess(ctx context.Context, write bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	mode, verb := uint32(unix.R_OK|unix.X_OK), "read"
	if write {
		mode, verb = mode|unix.W_OK, "write to"
	}
	err := unix.Faccessat(unix.AT_FDCWD, p.dir, mode, unix.AT_EACCESS)
	switch {
	case errors.Is(err, unix.EROFS):
		return &pool.AccessError{Pool: p.name, What: "the file system of " + p.dir + " is read-only", Cure: "mount it read-write, or name it in ReadWritePaths= of the unit"}
	case errors.Is(err, unix.EACCES):
		return p.denied(verb, p.dir)
	}
	return p.fail("check access", "", err)
}

// denied is the error of a path to which this process has no right.
func (p *Pool) denied(verb, path string) *pool.AccessError {
	cure := "chown the folder to the user of the roles, and its images, too; with several hosts, give this user the same number on all of them"
	user := os.Geteuid()
	if user == 0 {
		cure = "run as the user winery, because the file server gives root no rights (root_squash of NFS); " +
			"for winery-rbd-mapper see Images on NFS in /usr/share/doc/winery/install.md"
	}
	return &pool.AccessError{Pool: p.name, What: fmt.Sprintf("user %d is not allowed to %s %s", user, verb, path), Cure: cure}
}
