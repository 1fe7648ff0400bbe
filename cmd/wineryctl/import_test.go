// SPDX-License-Identifier: GPL-3.0-or-later

package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"winery/internal/config"
	"winery/internal/packer"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/roletest"
)

// pack packs objects into images of a pool, as a fleet does, with a temporary database.
func pack(t *testing.T, into config.Pool, shards ...[]sharedbase.Object) (names []string) {
	t.Helper()
	s := roletest.New(t, into)
	for _, objects := range shards {
		names = append(names, s.Full(t, objects))
		_, err := packer.New(packer.Options{Base: s.Base, Pools: s.Pools, Log: s.Log}).Step(t.Context())
		expect.NoError(t, err)
		s.WantState(t, names[len(names)-1], sharedbase.StatePacked)
	}
	return names
}

// TestRebuild loses the database: afterwards every packed object is present again.
func TestRebuild(t *testing.T) {
	files, images := roletest.Directory(t, ""), roletest.RBD(t)
	all := [][]sharedbase.Object{roletest.Objects(1, 300, 5000), roletest.Objects(2, 300, 5000)[1:], roletest.Objects(3, 1000, 500)[1:]}
	names := append(pack(t, files, all[0], all[1]), pack(t, images, all[2])...)

	s := newSite(t, files, images)
	s.fails(t, 1, "db init", "index", "rebuild")
	s.must(t, "db", "init")
	s.fails(t, 78, "must be a pool", "index", "rebuild", "--pool-name", "nonsense")
	if rows := s.rows(t, "index", "rebuild", "--pool-name", images.Name); len(rows) != 1 || rows[0]["image"] != names[2] || rows[0]["new"] != 999.0 {
		t.Errorf("%v", rows)
	}
	got := s.must(t, "index", "rebuild")
	for i, name := range names[:2] {
		if want := fmt.Sprintf("files/%s: %d objects, %d new\n", name, len(all[i]), len(all[i])); !strings.Contains(got, want) {
			t.Errorf("%q is not in %q", want, got)
		}
	}
	s.wantObjects(t, slices.Concat(all...))
	for _, row := range s.rows(t, "shards", "list") {
		if !slices.Contains(names, row["name"].(string)) || row["state"] != "readonly" || row["locker"] != nil {
			t.Errorf("%v", row)
		}
	}
	if rows := s.rows(t, "index", "rebuild"); len(rows) != 0 {
		t.Errorf("a second time: %v", rows)
	}
}

// TestImportKilled kills an import while it fills the index.
func TestImportKilled(t *testing.T) {
	files := roletest.Directory(t, "")
	objects := roletest.Objects(1, 500, 1000)
	names := pack(t, files, objects)
	s := newSite(t, files)
	s.must(t, "db", "init")
	// Another transaction is about to add one of the objects.
	unlock := s.locking(t, fmt.Sprintf(`WITH s AS (INSERT INTO shards (name, pool_name) VALUES ('blocker', 'files') RETURNING id)
		INSERT INTO signature2shard SELECT '\x%x', 'present', id FROM s`, objects[250].ID))
	s.killed(t, "shards", "import", "--no-progress")
	unlock()
	expect.Eventually(t, "the server to notice that its client was killed", func() bool { // the server notices that its client was killed
		return s.sql(t, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'wineryctl'") == "0"
	})
	if left := s.sql(t, "SELECT (SELECT count(*) FROM shards) + (SELECT count(*) FROM signature2shard)"); left != "0" {
		t.Fatalf("%s rows were left", left)
	}
	if rows := s.rows(t, "shards", "import"); len(rows) != 1 || rows[0]["image"] != names[0] || rows[0]["new"] != 500.0 {
		t.Errorf("%v", rows)
	}
	s.wantObjects(t, objects)
}

// TestImportBeside: of two imports at once each image is imported by one, and the other's
// end is no failure.
func TestImportBeside(t *testing.T) {
	files := roletest.Directory(t, "")
	objects := roletest.Objects(1, 300, 1000)
	pack(t, files, objects)
	s := newSite(t, files)
	s.must(t, "db", "init")
	unlock := s.locking(t, fmt.Sprintf(`WITH s AS (INSERT INTO shards (name, pool_name) VALUES ('blocker', 'files') RETURNING id)
		INSERT INTO signature2shard SELECT '\x%x', 'present', id FROM s`, objects[150].ID))
	first := make(chan []map[string]any)
	go func() {
		defer close(first)
		first <- s.rows(t, "shards", "import")
	}()
	expect.Eventually(t, "the first import to wait for the lock", func() bool {
		return s.sql(t, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'") == "1"
	})
	if got := s.must(t, "shards", "import"); !strings.Contains(got, "another process imports it") {
		t.Errorf("the second import says %q", got)
	}
	unlock()
	if rows := <-first; len(rows) != 1 || rows[0]["new"] != 300.0 {
		t.Errorf("the first import has %v", rows)
	}
	s.wantObjects(t, objects)
}

// TestImportRefuses imports one intact image, and refuses the others.
func TestImportRefuses(t *testing.T) {
	files := roletest.Directory(t, "")
	other := files
	other.Name = "other"
	objects := roletest.Objects(1, 100, 1000)
	names := pack(t, files, objects, roletest.Objects(2, 100, 1000))
	dir := filepath.Join(files.BaseDirectory, files.Name)
	good, bad := filepath.Join(dir, names[0]), filepath.Join(dir, names[1])
	content, err := os.ReadFile(bad)
	expect.NoError(t, err)
	content[1000] ^= 1
	expect.NoError(t, os.Chmod(bad, 0o600))
	expect.NoError(t, os.WriteFile(bad, content, 0o600))
	twice, err := os.ReadFile(good)
	expect.NoError(t, err)
	write(t, dir, "twice", string(twice))
	write(t, filepath.Join(files.BaseDirectory, "other"), "twice", string(twice))
	write(t, dir, "empty", "")

	s := newSite(t, files, other)
	s.must(t, "db", "init")
	s.fails(t, 1, names[1]+" is damaged at byte", "shards", "import")
	s.fails(t, 1, "choose one with --pool-name", "shards", "import")
	stdout, stderr, status := ctl(t, "--config", s.config, "shards", "import")
	if status != 1 || !strings.Contains(stdout, "files/empty: not imported: the image was never finished") ||
		!strings.Contains(stderr, "3 of 3 images were not imported") {
		t.Errorf("status %d, stdout %s, stderr %s", status, stdout, stderr)
	}
	s.wantObjects(t, objects)
	if known := s.rows(t, "shards", "list"); len(known) != 1 || known[0]["name"] != names[0] {
		t.Errorf("%v", known)
	}
	if rows := s.rows(t, "shards", "import", "-n", "other", "--quick"); len(rows) != 1 || rows[0]["new"] != 0.0 || rows[0]["objects"] != 100.0 {
		t.Errorf("%v", rows)
	}
}
