// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"log/slog"
	"testing"

	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/logtest"
	"winery/test/pgtest"
)

// TestHeartbeatsWarnOnce: failures of heartbeats are logged once an outage.
func TestHeartbeatsWarnOnce(t *testing.T) {
	dsn := pgtest.New(t)
	base, err := sharedbase.New(dsn, "test")
	expect.NoError(t, err)
	defer base.Close()
	_, err = base.Init(t.Context())
	expect.NoError(t, err)
	var log logtest.Log
	h := &heartbeats{base: base, notify: newNotifier(slog.New(slog.DiscardHandler)), log: log.Logger(slog.LevelInfo)}
	for outage := 1; outage <= 2; outage++ {
		pgtest.Exec(t, dsn, "ALTER TABLE winery_process RENAME TO hidden")
		h.send(t.Context())
		h.send(t.Context())
		pgtest.Exec(t, dsn, "ALTER TABLE hidden RENAME TO winery_process")
		expect.Eventually(t, "a heartbeat to be recorded", func() bool {
			h.send(t.Context())
			return !h.failing
		})
		if lines := log.Lines(""); len(lines) != outage {
			t.Errorf("after outage %d the log has %q", outage, lines)
		}
	}
}
