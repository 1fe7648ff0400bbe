// SPDX-License-Identifier: GPL-3.0-or-later

package main_test

import (
	"strings"
	"testing"

	"winery/test/pgtest"
)

// Upgrades of databases that old releases made are in test/interop.
func TestUpgrade(t *testing.T) {
	cfg := configFile(t, pgtest.New(t), "")
	for _, test := range []struct {
		args   []string
		status int
		says   string
	}{
		{nil, 1, "db init"},
		{[]string{"--dry-run"}, 1, "db init"},
		{[]string{"--pool-name", "tset"}, 78, `[test]`},
		{[]string{"extra"}, 78, "extra"},
	} {
		_, stderr, status := ctl(t, append([]string{"--config", cfg, "db", "upgrade"}, test.args...)...)
		if status != test.status || !strings.Contains(stderr, test.says) {
			t.Errorf("%q: status %d, %q, expected %q", test.args, status, stderr, test.says)
		}
	}
	must(t, "--config", cfg, "db", "init")
	if got := must(t, "--config", cfg, "db", "upgrade", "--pool-name", "test"); got != "database is up to date: schema version 5\n" {
		t.Errorf("said %q", got)
	}
	if got := must(t, "--config", cfg, "db", "upgrade", "--dry-run"); got != "-- nothing to do: schema version 5\n" {
		t.Errorf("printed %q", got)
	}
}
