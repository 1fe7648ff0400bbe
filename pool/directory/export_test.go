// SPDX-License-Identifier: GPL-3.0-or-later

package directory

import (
	"io/fs"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// UseFlock replaces flock(2) for images, until the test ends.
func UseFlock(t testing.TB, call func(fd, how int) error) {
	flock = call
	t.Cleanup(func() { flock = unix.Flock })
}

// UseStat replaces os.Stat for images, until the test ends.
func UseStat(t testing.TB, call func(path string) (fs.FileInfo, error)) {
	stat = call
	t.Cleanup(func() { stat = os.Stat })
}
