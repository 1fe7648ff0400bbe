// SPDX-License-Identifier: GPL-3.0-or-later

package crash

import (
	"strings"
	"testing"
	"time"

	"winery/pool"
	"winery/test/expect"
	"winery/test/harness/relay"
	"winery/test/pgtest"
	"winery/test/roletest"
)

// TestCutOff cuts a packer off from its database while its Ceph is well, and it
// is in the middle of something. Another takes the image over at once, and what
// the first wants of it after that is refused by Ceph.
func TestCutOff(t *testing.T) {
	t.Parallel()
	s := roletest.New(t, roletest.RBD(t))
	for at, fenced := range map[roletest.Point]bool{
		roletest.Verify: false, roletest.Commit: false, // it checks its lease before it continues
		roletest.After(roletest.Create): true, roletest.Write: true, roletest.Read: true,
	} {
		t.Run(string(at), func(t *testing.T) {
			t.Parallel()
			c := &trial{Stage: s.On(t, pgtest.New(t)), role: "packer"}
			c.story = full(t, c.Stage)
			r, dsn, err := relay.Database(c.DSN)
			expect.NoError(t, err)
			t.Cleanup(r.Close)
			beyond := *c.Stage
			beyond.DSN = dsn
			c.process = beyond.Start(t, c.role, roletest.Halt{Point: at, Nth: 1})
			c.process.Halted(t)
			c.since = time.Now()
			c.reclaim(t)
			r.Cut()
			c.goOn(t, crew, settled)
			if c.done > roletest.Lease+20*time.Second {
				t.Errorf("it took %v: a live client's lock was waited for", c.done)
			}
			c.process.Continue(t)
			err = c.process.Wait(t)
			if err == nil || fenced != strings.Contains(err.Error(), pool.ErrFenced.Error()) {
				t.Errorf("refused by Ceph: want %t, it says: %v", fenced, err)
			}
			t.Logf("taken over after %.1f s, all done after %.1f s; it says: %v", c.held().Seconds(), c.done.Seconds(), err)
			wantWhole(t, c.Stage, c.story)
		})
	}
}
