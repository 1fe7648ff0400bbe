// SPDX-License-Identifier: GPL-3.0-or-later

package ingest_test

import (
	"testing"

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

// waitForHeld waits until something has come that the relay holds back.
func waitForHeld(t *testing.T, r *relay.Relay) {
	t.Helper()
	eventually(t, "data to be held back", func() bool { return r.Held() > 0 })
}
