// SPDX-License-Identifier: GPL-3.0-or-later

package main_test

import (
	"strings"
	"testing"

	"winery/test/pgtest"
	"winery/test/roletest"
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

// TestUpgradeDryRun: what the dry run prints is all that the upgrade does, in psql, too.
func TestUpgradeDryRun(t *testing.T) {
	const step, tune, attach = "ALTER COLUMN pool_name DROP DEFAULT", "SET COMPRESSION lz4", "CREATE TABLE winery_version"
	for version, want := range map[string][]string{"4": {step, tune, attach}, "5": {attach}} {
		t.Run(version, func(t *testing.T) {
			s := newSite(t, roletest.Directory(t, ""))
			s.must(t, "db", "init")
			s.detach(t)
			s.sql(t, "UPDATE dbversion SET version = "+version+"; ALTER TABLE shard_template ALTER content SET COMPRESSION pglz")
			printed := s.must(t, "db", "upgrade", "--dry-run")
			if got := s.sql(t, `SELECT max(version), (SELECT count(*) FROM pg_class WHERE relname LIKE 'winery\_%') FROM dbversion`); got != version+"|0" {
				t.Errorf("the dry run left version and tables %s", got)
			}
			rest := printed
			for _, part := range want {
				_, after, found := strings.Cut(rest, part)
				if !found {
					t.Fatalf("no %q, or in another order: %s", part, printed)
				}
				rest = after
			}
			if n := strings.Count(printed, "COMMIT;"); n != len(want) {
				t.Errorf("%d transactions, want %d", n, len(want))
			}
			byHand := s.psql(t)
			byHand.Stdin = strings.NewReader(printed)
			if out, err := byHand.CombinedOutput(); err != nil {
				t.Fatalf("psql: %v, %s", err, out)
			}
			if got := s.must(t, "db", "upgrade", "--dry-run"); got != "-- nothing to do: schema version 5\n" {
				t.Errorf("still to be done: %s", got)
			}
		})
	}
}
