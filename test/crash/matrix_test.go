// SPDX-License-Identifier: GPL-3.0-or-later

package crash

import (
	"testing"

	"golang.org/x/sys/unix"

	"winery/test/roletest"
)

// TestKilled kills the process of each role at each point. Every acknowledged
// object can be read at once, other processes continue within two lease times,
// and in the end each object is in its place.
func TestKilled(t *testing.T) {
	eachTrial(t, unix.SIGKILL, func(t *testing.T, c *trial) {
		c.goOn(t, crew, settled)
		if held := c.held(); c.lease != (held > 0) || held > 2*roletest.Lease {
			t.Errorf("it had a lease of %[3]v: %[1]t; it was taken back after %[2]v", c.lease, held, roletest.Lease)
		}
		wantWhole(t, c.Stage, c.story)
	})
}
