// SPDX-License-Identifier: GPL-3.0-or-later

package main_test

import (
	"bytes"
	"crypto/sha256"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"winery/pool/pooltest"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/roletest"
)

// TestMigrateAndBack migrates an image of Python Winery to Ceph and back.
func TestMigrateAndBack(t *testing.T) {
	python := os.Getenv("WINERY_PYTHON")
	if python == "" {
		t.Fatal("WINERY_PYTHON must name a Python interpreter that has swh.shard; `make test` makes one")
	}
	files, ceph, back := roletest.Directory(t, ""), roletest.RBD(t), roletest.Directory(t, "")
	back.Name = "back"
	s := newSite(t, files, ceph, back)
	const image = "i0123456789abcdef0123456789abcde"
	objects := roletest.Objects(1, 400, 8000)
	out, err := exec.CommandContext(t.Context(), python, "-c", `
import os, sys
from swh.shard import ShardCreator
with open(sys.argv[2], "rb") as f: data = f.read()
objects, at = [], 0
while at < len(data):
    size = int.from_bytes(data[at + 32:at + 40], "big")
    objects.append((data[at:at + 32], data[at + 40:at + 40 + size]))
    at += 40 + size
with ShardCreator(sys.argv[1], len(objects)) as shard:
    for key, content in objects: shard.write(key, content)
os.chmod(sys.argv[1], 0o400)`, filepath.Join(files.BaseDirectory, "files", image), write(t, t.TempDir(), "objects", string(listing(objects)))).CombinedOutput()
	if err != nil {
		t.Fatalf("Python: %v\n%s", err, out)
	}
	s.must(t, "db", "init")
	s.must(t, "shards", "import")
	s.wantObjects(t, objects)

	// Kill the command when the copy is verified and the database does not yet refer to it.
	unlock := s.locking(t, "SELECT FROM shards FOR UPDATE")
	s.killed(t, "shards", "migrate", "files", ceph.Name)
	s.sql(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
	unlock()
	pool := func() string { return s.sql(t, "SELECT pool_name FROM shards") }
	if got := pool(); got != "files" {
		t.Fatalf("the shard is in pool %s", got)
	}
	if got := s.must(t, "shards", "migrate", "files", ceph.Name); !strings.HasPrefix(got, image+": 400 objects, ") || !strings.Contains(got, "recorded") {
		t.Errorf("%q", got)
	}
	if got := pool(); got != ceph.Name {
		t.Fatalf("the shard is in pool %s", got)
	}
	expect.NoError(t, s.pools["files"].Remove(t.Context(), image, pooltest.Anything{}))
	s.wantObjects(t, objects)

	// Before the migration continues, an object is deleted, and erased in Ceph.
	expect.NoError(t, s.base.Delete(t.Context(), objects[9].ID))
	if got := s.must(t, "objects", "clean-deleted"); got != "1 deleted objects erased\n" {
		t.Errorf("%q", got)
	}
	rows := s.rows(t, "shards", "migrate", ceph.Name, "back", "--image", image, "--no-db-update", "--limit", "1")
	if len(rows) != 1 || rows[0]["copied"] != true || rows[0]["recorded"] != false || pool() != ceph.Name {
		t.Errorf("%v", rows)
	}
	rows = s.rows(t, "shards", "migrate", ceph.Name, "back", "--no-transfer")
	if len(rows) != 1 || rows[0]["copied"] != false || rows[0]["recorded"] != true || rows[0]["objects"] != 399.0 || pool() != "back" {
		t.Errorf("%v", rows)
	}
	expect.NoError(t, s.pools[ceph.Name].Remove(t.Context(), image, pooltest.Anything{}))
	s.wantObjects(t, slices.Delete(slices.Clone(objects), 9, 10))
}

// listing returns ids, sizes and contents for the Python script.
func listing(objects []sharedbase.Object) (list []byte) {
	for _, o := range objects {
		size := len(o.Content)
		list = append(append(list, o.ID[:]...), 0, 0, 0, 0, byte(size>>24), byte(size>>16), byte(size>>8), byte(size))
		list = append(list, o.Content...)
	}
	return list
}

func TestMigrateRefuses(t *testing.T) {
	files, other := roletest.Directory(t, ""), roletest.Directory(t, "")
	other.Name = "other"
	good, bad := roletest.Objects(1, 100, 1000), roletest.Objects(2, 100, 1000)
	names := pack(t, files, good, bad)
	s := newSite(t, files, other)
	s.must(t, "db", "init")
	s.must(t, "shards", "import")
	e, err := s.pools["files"].Edit(t.Context(), names[1], pooltest.Anything{})
	expect.NoError(t, err)
	_, err = e.WriteAt([]byte{1, 2, 3}, 3000)
	expect.NoError(t, err)
	expect.NoError(t, e.Close())

	for says, args := range map[string][]string{
		"two different pools":        {"files", "files"},
		"FROM: found":                {"nonsense", "files"},
		"TO: found":                  {"files", "nonsense"},
		"nothing would be done":      {"files", "other", "--no-transfer", "--no-db-update"},
		"--limit: found 0":           {"files", "other", "--limit", "0"},
		"migrate takes two":          {"files"},
		"--workers: found 0":         {"files", "other", "--workers", "0"},
		"--rate: found 0":            {"files", "other", "--rate", "0"},
		"--no-transfer and --dry":    {"files", "other", "--no-transfer", "--dry-run"},
		"output: found \"nonsense\"": {"files", "other", "--output", "nonsense"},
	} {
		s.fails(t, 78, says, append([]string{"shards", "migrate"}, args...)...)
	}
	s.fails(t, 1, "has no shard of this name", "shards", "migrate", "files", "other", "-i", "absent")
	s.fails(t, 1, names[1]+" is damaged at byte", "shards", "migrate", "files", "other")
	for i, want := range []string{"other", "files"} {
		if got := s.sql(t, "SELECT pool_name FROM shards WHERE name = '"+names[i]+"'"); got != want {
			t.Errorf("shard %d is in pool %s, expected %s", i, got, want)
		}
	}
	if left, err := s.pools["other"].List(t.Context()); err != nil || !slices.Equal(left, names[:1]) {
		t.Errorf("the new pool has %v, %v", left, err)
	}
	s.wantObjects(t, good)
	s.fails(t, 1, "pool other already", "shards", "migrate", "files", "other", "--image", names[0])
}

// TestMigrateToFullPool: where the new pool is full, the command says how many images it did
// not try.
func TestMigrateToFullPool(t *testing.T) {
	files, small := roletest.Directory(t, ""), roletest.Directory(t, "")
	small.Name = "small"
	if err := unix.Mount("none", small.BaseDirectory, "tmpfs", 0, "size=700k"); err != nil {
		t.Fatalf("a full disk needs root: %v", err)
	}
	t.Cleanup(func() { expect.NoError(t, unix.Unmount(small.BaseDirectory, 0)) })
	var shards [][]sharedbase.Object
	for i := range 5 {
		content := bytes.Repeat([]byte{byte(i)}, 400_000)
		shards = append(shards, []sharedbase.Object{{ID: sha256.Sum256(content), Content: content}})
	}
	pack(t, files, shards...)
	s := newSite(t, files, small)
	s.must(t, "db", "init")
	s.must(t, "shards", "import", "--pool-name", "files")
	s.fails(t, 1, "1 of 5 images were not migrated; stopped: 3 images were not tried", "shards", "migrate", "files", "small")
	if got := s.sql(t, "SELECT count(*) FROM shards WHERE pool_name = 'small'"); got != "1" {
		t.Errorf("%s images were migrated", got)
	}
}
