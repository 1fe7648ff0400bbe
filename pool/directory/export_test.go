// SPDX-License-Identifier: GPL-3.0-or-later

package directory

import (
	"testing"

	"golang.org/x/sys/unix"
)

// UseFlock replaces flock(2) for images, until the test ends.
func UseFlock(t testing.TB, call func(fd, how int) error) {
	flock = call
	t.Cleanup(func() { flock = unix.Flock })
}
