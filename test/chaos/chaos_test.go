// SPDX-License-Identifier: GPL-3.0-or-later

package chaos

import (
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Three minutes of what make chaos does, with a lease that is short enough for
// many to run out. It needs the programs in bin/ (make build).
func TestChaos(t *testing.T) {
	for _, c := range []struct {
		pool     string
		duration time.Duration
	}{{"directory", time.Minute}, {"rbd", 2 * time.Minute}} {
		t.Run(c.pool, func(t *testing.T) {
			report, err := Run(t.Context(), Options{
				Root: "../..", Pool: c.pool, Duration: c.duration, Lease: 6 * time.Second,
				Seed: uint64(time.Now().UnixNano()) % 1e6, Say: t.Logf,
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := report.Print(os.Stdout); err != nil {
				t.Fatal(err)
			}
			if n := report.Findings(); n > 0 {
				t.Errorf("%d findings", n)
			}
		})
	}
}
