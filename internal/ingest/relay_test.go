// SPDX-License-Identifier: GPL-3.0-or-later

package ingest_test

import (
	"testing"

	"winery/internal/ingest"
	"winery/test/expect"
	"winery/test/harness/relay"
)

// relayed returns a relay and the DSN of dsn's database behind it.
func relayed(t *testing.T, dsn string) (*relay.Relay, string) {
	t.Helper()
	r, dsn, err := relay.Database(dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r, dsn
}

// hold lets nothing pass until Resume, or the end of the test.
func hold(t *testing.T, r *relay.Relay) {
	r.Hold()
	t.Cleanup(r.Resume)
}

// holdInLane holds the relay, calls add, and waits until a lane of w has taken
// the request: while the relay is held, the lane does not get rid of it.
func holdInLane(t *testing.T, r *relay.Relay, w *ingest.Writer, add func()) {
	t.Helper()
	expect.Eventually(t, "the lanes to be idle", func() bool { return w.Busy() == 0 })
	hold(t, r)
	add()
	expect.Eventually(t, "a lane to take the request", func() bool { return w.Busy() > 0 })
}
