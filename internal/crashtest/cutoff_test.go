// SPDX-License-Identifier: GPL-3.0-or-later

package crashtest

import (
	"strings"
	"testing"
	"time"

	"winery/internal/relay"
	"winery/internal/testpg"
	"winery/internal/testrole"
	"winery/pool"
)

// TestCutOff cuts a packer off from its database while its Ceph is well, and it
// is in the middle of something. Another takes the image over at once, and what
// the first wants of it after that is refused by Ceph.
func TestCutOff(t *testing.T) {
	t.Parallel()
	s := testrole.New(t, testrole.RBD(t))
	for at, fenced := range map[testrole.Point]bool{
		testrole.Held: false, testrole.Commit: false, // it looks at its lease before it goes on
		testrole.After(testrole.Create): true, testrole.Write: true, testrole.Read: true,
	} {
		t.Run(string(at), func(t *testing.T) {
			t.Parallel()
			c := &trial{Stage: s.On(t, testpg.New(t)), role: "packer"}
			c.story = full(t, c.Stage)
			r, dsn, err := relay.Database(c.DSN)
			testrole.Must(t, err)
			t.Cleanup(r.Close)
			beyond := *c.Stage
			beyond.DSN = dsn
			c.process = beyond.Start(t, c.role, testrole.Halt{Point: at, Nth: 1})
			c.process.Halted(t)
			c.since = time.Now()
			c.reclaim(t)
			r.Cut()
			c.goOn(t, crew, settled)
			if c.done > testrole.Lease+20*time.Second {
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
