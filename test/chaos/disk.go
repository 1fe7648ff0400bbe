// SPDX-License-Identifier: GPL-3.0-or-later

package chaos

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// diskSize is the most that a directory pool's file system takes, in memory.
const diskSize = "size=4g"

// mountDisk makes a file system for a directory pool, one whose size can change.
func mountDisk(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	if err := syscall.Mount("winery-chaos", dir, "tmpfs", 0, diskSize); err != nil {
		return fmt.Errorf("a directory pool's disk can only be filled by one who may mount (root): mount tmpfs on %s: %w", dir, err)
	}
	return nil
}

// unmountDisk removes the file system.
func unmountDisk(dir string) error {
	if err := syscall.Unmount(dir, 0); err != nil {
		return errors.Join(fmt.Errorf("unmount %s: %w", dir, err), syscall.Unmount(dir, syscall.MNT_DETACH))
	}
	return nil
}

// fillDisk leaves the file system no more room than it uses.
func fillDisk(dir string) error {
	for {
		var at syscall.Statfs_t
		if err := syscall.Statfs(dir, &at); err != nil {
			return err
		}
		used := (at.Blocks - at.Bfree) * uint64(at.Bsize)
		err := remount(dir, fmt.Sprintf("size=%d", used+uint64(at.Bsize)))
		if !errors.Is(err, syscall.EINVAL) { // more is used by now
			return err
		}
	}
}

// freeDisk undoes fillDisk.
func freeDisk(dir string) error { return remount(dir, diskSize) }

func remount(dir, size string) error {
	if err := syscall.Mount("winery-chaos", dir, "tmpfs", syscall.MS_REMOUNT, size); err != nil {
		return fmt.Errorf("remount %s with %s: %w", dir, size, err)
	}
	return nil
}
