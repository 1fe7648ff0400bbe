// SPDX-License-Identifier: GPL-3.0-or-later

package daemon_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"winery/test/expect"
)

// A role that waits for a pool at its start says each reason once, is not ready, and counts as failing.
func TestWaitsForPool(t *testing.T) {
	_, dsn := initialised(t)
	file, images := configuration(t, dsn), filepath.Join(t.TempDir(), "images")
	text, err := os.ReadFile(file)
	expect.NoError(t, err)
	expect.NoError(t, os.WriteFile(file, []byte(strings.ReplaceAll(string(text), "/nonexistent", images)), 0o600))
	p := launch(t, "pools", "--config", file, "--log-level", "debug", "--telemetry-listen", "127.0.0.1:0")
	p.stderr.Wait(t, `level=DEBUG msg="waiting for a pool"`) // at the second try
	shows := func(lines ...string) {
		t.Helper()
		for _, line := range lines {
			expect.Eventually(t, "metrics to have "+line, func() bool { // a database that takes half a second counts as down
				_, body := p.telemetry("/metrics")
				return regexp.MustCompile(`\n` + line).MatchString(body)
			})
		}
	}
	shows(`winery_ready{role="test"} 0\n`, `winery_backoff_seconds{part="",role="test"} [1-9]`, `winery_database_up 1\n`)
	expect.NoError(t, os.MkdirAll(filepath.Join(images, "shards"), 0o700))
	p.expect("open")
	shows(`winery_ready{role="test"} 1\n`, `winery_backoff_seconds{part="",role="test"} 0\n`)
	p.signal(syscall.SIGTERM)
	p.end(0, "a pool can be used")
	if n := strings.Count(p.stderr.String(), `level=ERROR msg="waiting for a pool"`); n != 1 {
		t.Errorf("said %d times:\n%s", n, p.stderr.String())
	}
}
