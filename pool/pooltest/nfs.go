// SPDX-License-Identifier: GPL-3.0-or-later

package pooltest

import "golang.org/x/sys/unix"

// FlockOnNFS is flock(2) as on NFS 4: Linux makes byte-range locks of these locks, for
// which the file must be open for writing, or for reading if the lock is shared.
func FlockOnNFS(fd, how int) error {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return err
	}
	switch mode := flags & unix.O_ACCMODE; {
	case how&unix.LOCK_EX != 0 && mode == unix.O_RDONLY, how&unix.LOCK_SH != 0 && mode == unix.O_WRONLY:
		return unix.EBADF
	}
	return unix.Flock(fd, how)
}
