// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

// A part that hangs is not hidden by one that waits.
func TestPartsStallAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNotifier(slog.New(slog.DiscardHandler))
		tables, objects := n.Part("tables"), n.Part("objects")
		tables.Status("waiting for packed shards")
		objects.Status("erasing")
		objects.Progress()
		for range 10 {
			time.Sleep(time.Minute)
			tables.Progress()
			tables.waiting()
		}
		if stalled, status := n.stalled(); stalled != 10*time.Minute || status != "objects: erasing" {
			t.Errorf("stalled for %v: %s", stalled, status)
		}
		if status, failing := n.condition(); status != "no progress for 10m0s: objects: erasing" || !failing {
			t.Errorf("condition %q, failing %v", status, failing)
		}
		objects.waiting()
		if stalled, _ := n.stalled(); stalled != 0 {
			t.Errorf("both wait, stalled for %v", stalled)
		}
		if want := "tables: waiting for packed shards; objects: erasing"; n.lastStatus() != want {
			t.Errorf("status %q, want %q", n.lastStatus(), want)
		}
		for _, fails := range []bool{false, true} {
			objects.failing(fails)
			tables.failing(false)
			if status, failing := n.condition(); status != n.lastStatus() || failing != fails {
				t.Errorf("condition %q, failing %v, while a part fails: %v", status, failing, fails)
			}
		}
	})
}
