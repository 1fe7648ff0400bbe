// SPDX-License-Identifier: GPL-3.0-or-later

package main_test

import (
	"path/filepath"
	"strings"
	"testing"

	"winery/sharedbase"
	"winery/test/pgtest"
	"winery/test/roletest"
)

// verify finds tables and images that no shard uses, and images that are newer than
// the database; shards import says why it does not import the latter.
func TestOrphans(t *testing.T) {
	dir := roletest.Directory(t, "")
	s := newSite(t, dir)
	s.must(t, "db", "init")
	standby := s.store(t, roletest.Objects(1, 20, 1000))
	s.must(t, "verify")

	roletest.Put(t, s.pools[dir.Name], standby, roletest.Objects(1, 20, 1000))
	roletest.Put(t, s.pools[dir.Name], "stray", roletest.Objects(2, 20, 1000))
	write(t, filepath.Join(dir.BaseDirectory, dir.Name), "leftover", "") // which remains to the end, and is no failure
	pgtest.Exec(t, s.dsn, "CREATE TABLE shard_gone (LIKE shard_template INCLUDING ALL)")
	stdout, stderr, status := ctl(t, "--config", s.config, "verify")
	for _, want := range []string{"shard_gone: orphan table: ", "stray: orphan image: ", standby + ": newer image: ", "leftover: unfinished image: "} {
		if !strings.Contains(stdout, want) {
			t.Errorf("verify does not say %q: %s", want, stdout)
		}
	}
	if status != 1 || !strings.Contains(stderr, "0 of 1 shards have findings, or could not be read; 3 tables and images") {
		t.Errorf("status %d, %q", status, stderr)
	}
	s.must(t, "verify", "--shard", standby)
	s.must(t, "verify", "--pool-name", dir.Name) // shards alone, too

	out := s.must(t, "shards", "import")
	for _, want := range []string{standby + ": not imported: the shard is standby", "files/leftover: not imported: the image was never finished"} {
		if !strings.Contains(out, want) {
			t.Errorf("import does not say %q: %s", want, out)
		}
	}
	for _, args := range [][]string{{"--dry-run"}, {}} {
		rows := s.rows(t, append([]string{"index", "reconcile"}, args...)...)
		if len(rows) != 2 || rows[0]["image"] != standby || rows[1]["image"] != "leftover" || rows[1]["unfinished"] != true {
			t.Errorf("reconcile %v: %v", args, rows)
		}
	}
	pgtest.Exec(t, s.dsn, "DROP TABLE shard_gone")
	s.must(t, "verify")
	s.wantIn(t, standby, sharedbase.StateReadOnly, roletest.Objects(1, 20, 1000)[1:])
}
