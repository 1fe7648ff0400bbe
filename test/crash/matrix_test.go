// SPDX-License-Identifier: GPL-3.0-or-later

package crash

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestKilled kills the process of each role at each point. Every acknowledged
// object can be read at once, other processes continue once its lease
// has expired, and in the end each object is in its place.
func TestKilled(t *testing.T) {
	eachTrial(t, unix.SIGKILL, func(t *testing.T, c *trial) {
		c.goOn(t, crew, settled)
		if held := c.held(); c.lease != (held > 0) {
			t.Errorf("it had a lease: %t; it was taken back after %v", c.lease, held)
		}
		wantWhole(t, c.Stage, c.story)
	})
}
