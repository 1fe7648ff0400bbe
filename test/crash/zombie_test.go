// SPDX-License-Identifier: GPL-3.0-or-later

package crash

import (
	"errors"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"winery/internal/config"
	"winery/pool"
	"winery/pool/pooltest"
	"winery/test/expect"
	"winery/test/roletest"
)

// TestStopped stops the process of each role at each point, until other processes
// have done its work. Then it continues, and does no harm.
func TestStopped(t *testing.T) {
	eachTrial(t, unix.SIGSTOP, func(t *testing.T, c *trial) {
		switch way := c.process.Way(); {
		case streams(way):
			// Its snapshot keeps the table, though not the image.
			c.goOn(t, []string{"packer", "mapper"}, inImages)
			c.note("the table waits")
		case c.Config.Type != config.RBD && slices.Contains(way, roletest.Edit):
			c.goOn(t, crew, settledOrInUse)
		default:
			c.goOn(t, crew, settled)
		}
		wantReadable(t, c.Stage, c.stored)
		c.process.Continue(t)
		err := c.process.Wait(t)
		c.after = "went on"
		if err != nil {
			c.after = "failed"
		} else if c.lease && c.role != "writer" && !dropped(c.process.Way()) {
			t.Errorf("the %s noticed nothing", c.role)
		}
		c.goOn(t, crew, settled)
		wantWhole(t, c.Stage, c.story)
	})
}

// dropped says that a cleaner was about to drop a table: that another did meanwhile is
// what it wanted.
func dropped(way []roletest.Point) bool {
	return slices.Contains(way, "SetState") || slices.Contains(way, "DropTable")
}

// streams says that a process is reading a shard's table.
func streams(way []roletest.Point) (is bool) {
	for _, p := range way {
		switch p {
		case roletest.After("CheckClaim"):
			is = true
		case roletest.After("commit"):
			is = false
		default:
		}
	}
	return is
}

// settledOrInUse says that nothing is left to do, except for the process that
// has a file locked.
func settledOrInUse(t *testing.T, c *trial) bool {
	t.Helper()
	if settled(t, c) {
		return true
	}
	e, err := c.Pool.Edit(t.Context(), shards(t, c.Stage)[0].Name, pooltest.Anything{})
	if errors.Is(err, pool.ErrInUse) {
		c.note("none: it has the image")
		return true
	}
	expect.NoError(t, err)
	expect.NoError(t, e.Close())
	return false
}
