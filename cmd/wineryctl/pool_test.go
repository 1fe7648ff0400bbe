// SPDX-License-Identifier: GPL-3.0-or-later

package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"winery/test/expect"
	"winery/test/pgtest"
	"winery/test/roletest"
)

// TestPool initialises pools, and adopts them for another database.
func TestPool(t *testing.T) {
	files, images := roletest.Directory(t, ""), roletest.RBD(t)
	s := newSite(t, files, images)
	expect.NoError(t, os.Remove(filepath.Join(files.BaseDirectory, files.Name)))
	s.fails(t, 1, "db init", "pool", "list")
	want := "schema created: version 5\npool files: initialised\npool " + images.Name + ": initialised\n"
	if got := s.must(t, "db", "init"); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := s.must(t, "pool", "init", "files"); got != "pool files: initialised already\n" {
		t.Errorf("again: %q", got)
	}
	s.fails(t, 78, "must be a pool of the configuration: [files "+images.Name+"]", "pool", "init", "nonsense")
	s.fails(t, 78, "takes the NAME of one pool", "pool", "init")
	states := func(s *site) (states [2]string) {
		t.Helper()
		for i, row := range s.rows(t, "pool", "list") {
			states[i] = row["state"].(string)
		}
		return states
	}
	if got := states(s); got != [2]string{"ok", "ok"} {
		t.Errorf("%v", got)
	}

	copied := newSiteOn(t, pgtest.Copy(t, s.dsn), files, images)
	if got := states(copied); got != [2]string{"another database's", "another database's"} {
		t.Errorf("of a copy: %v", got)
	}
	if table := copied.must(t, "pool", "list"); !strings.Contains(table, "another database's") {
		t.Errorf("%q", table)
	}
	copied.fails(t, 1, `wineryctl pool adopt files`, "db", "init")
	copied.fails(t, 1, `wineryctl pool adopt files`, "shards", "import")
	copied.fails(t, 1, "With --yes, this database becomes the owner", "pool", "adopt", "files")
	stdout, stderr, status := ctl(t, "--config", copied.config, "pool", "adopt", "files", "--yes")
	if status != 0 || stdout != "pool files: adopted\n" || !strings.Contains(stderr, "the pool belongs to database") {
		t.Errorf("status %d, %q, %q", status, stdout, stderr)
	}
	if got := copied.must(t, "pool", "adopt", "files"); got != "pool files: owned by this database already\n" {
		t.Errorf("%q", got)
	}
	if got := states(copied); got != [2]string{"ok", "another database's"} {
		t.Errorf("of the copy, after the adoption: %v", got)
	}
	copied.sql(t, "UPDATE winery_pool SET uuid = gen_random_uuid() WHERE name = '"+images.Name+"'") // as if it had another one there
	copied.fails(t, 1, "is another file system mounted? Nothing was changed", "pool", "adopt", images.Name, "--yes")
	if got := states(s); got != [2]string{"another database's", "ok"} {
		t.Errorf("after the adoption: %v", got)
	}
	copied.must(t, "pool", "adopt", images.Name, "--yes", "--replace-identity")
	if got := states(copied); got != [2]string{"ok", "ok"} {
		t.Errorf("of the copy, after both adoptions: %v", got)
	}
}
