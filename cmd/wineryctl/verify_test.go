// SPDX-License-Identifier: GPL-3.0-or-later

package main_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"winery/pool/pooltest"
	"winery/test/expect"
	"winery/test/roletest"
)

func TestVerify(t *testing.T) {
	files, other := roletest.Directory(t, ""), roletest.Directory(t, "")
	other.Name = "other"
	objects, more := roletest.Objects(1, 100, 1000), roletest.Objects(2, 100, 1000)[1:]
	names := pack(t, files, objects, more)
	s := newSite(t, files, other)
	s.must(t, "db", "init")
	s.must(t, "shards", "import")
	for says, args := range map[string][]string{
		"--sample: found 0":      {"--sample", "0"},
		"--rate: found -1":       {"--rate", "-1"},
		"exclude each other":     {"--sample", "5", "--repair"},
		"--erase needs --repair": {"--erase"},
		"--pool-name: found":     {"--pool-name", "nonsense"},
		"--shard: found":         {"--shard", "nonsense"},
		"--output: found":        {"--output", "xml"},
		"unexpected argument":    {"extra"},
	} {
		s.fails(t, 78, says, append([]string{"verify"}, args...)...)
	}
	stdout, stderr, status := ctl(t, "--config", s.config, "verify")
	if status != 0 || strings.Count(stdout, " objects are intact\n") != 2 ||
		!strings.Contains(stderr, "verified 2 shards: 199 objects, ") || !strings.Contains(stderr, " 0 findings\n") {
		t.Errorf("status %d, %q, %q", status, stdout, stderr)
	}
	// Seven of the image, and seven of the index.
	if rows := s.rows(t, "verify", "--sample", "7", "--rate", "100"); len(rows) != 2 || rows[0]["objects"].(float64) < 7 || rows[0]["objects"].(float64) > 14 {
		t.Errorf("%v", rows)
	}
	if rows := s.rows(t, "verify", "--shard", names[1], "--pool-name", "files"); len(rows) != 1 || rows[0]["shard"] != names[1] {
		t.Errorf("%v", rows)
	}

	// The other pool has a copy of the first.
	image := filepath.Join(files.BaseDirectory, "files", names[0])
	whole, err := os.ReadFile(image)
	expect.NoError(t, err)
	expect.NoError(t, os.WriteFile(filepath.Join(other.BaseDirectory, "other", names[0]), whole, 0o400))
	for _, name := range names {
		e, err := s.pools["files"].Edit(t.Context(), name, pooltest.Anything{})
		expect.NoError(t, err)
		_, err = e.WriteAt([]byte{0xaa, 0xbb, 0xcc, 0xdd}, 3000)
		expect.NoError(t, err)
		expect.NoError(t, e.Close())
		shard, err := s.base.ShardByName(t.Context(), name)
		expect.NoError(t, err)
		expect.NoError(t, s.base.Quarantine(t.Context(), shard.ID, "seen by the test"))
	}
	stdout, stderr, status = ctl(t, "--config", s.config, "verify")
	if status != 1 || strings.Count(stdout, ": object damaged: shard image ") != 2 || !strings.Contains(stderr, "2 of 2 shards have findings") ||
		!strings.Contains(stderr, " 2 findings\n") {
		t.Errorf("status %d, %q, %q", status, stdout, stderr)
	}
	if rows := s.rows(t, "shards", "quarantined"); len(rows) != 2 || rows[0]["name"] != names[0] || rows[0]["reason"] != "seen by the test" {
		t.Errorf("%v", rows)
	}
	if table := s.must(t, "shards", "quarantined"); strings.Count(table, "\n") != 3 || !strings.Contains(table, "seen by the test") {
		t.Errorf("%q", table)
	}
	stdout, stderr, status = ctl(t, "--config", s.config, "verify", "--repair")
	if status != 1 || !strings.Contains(stdout, names[0]+": restored 1 objects from pool other\n"+names[0]+": unquarantined\n"+names[0]+": 100 objects are intact\n") ||
		!strings.Contains(stdout, names[1]+": object damaged: ") || !strings.Contains(stderr, names[1]+": no other pool has an image of shard "+names[1]) {
		t.Errorf("status %d, %q, %q", status, stdout, stderr)
	}
	if now, err := os.ReadFile(image); err != nil || !slices.Equal(now, whole) {
		t.Errorf("the image differs from the original: %v", err)
	}
	stdout, _, status = ctl(t, "--config", s.config, "verify", "--output", "json", "--shard", names[1])
	if status != 1 || !strings.Contains(stdout, `"kind": "object damaged"`) || !strings.Contains(stdout, `"object": "`) {
		t.Errorf("status %d, %q", status, stdout)
	}
	s.fails(t, 1, "not found", "shards", "unquarantine", names[0])
	s.fails(t, 78, "NAME of one shard", "shards", "unquarantine")
	s.must(t, "shards", "unquarantine", names[1])
	if rows := s.rows(t, "shards", "quarantined"); len(rows) != 0 {
		t.Errorf("%v", rows)
	}
}

// A shard that cannot be read is neither a finding nor a success.
func TestVerifyCannotRead(t *testing.T) {
	s := newSite(t, roletest.Directory(t, ""))
	s.must(t, "db", "init")
	claim := s.writing(t, "files", roletest.Objects(1, 10, 100))
	if rows := s.rows(t, "verify"); len(rows) != 1 || rows[0]["objects"] != 10.0 {
		t.Errorf("%v", rows)
	}
	s.sql(t, fmt.Sprintf("ALTER TABLE shard_%s RENAME TO elsewhere", claim.Name()))
	s.fails(t, 1, "the shard has no table", "verify")
	s.sql(t, "UPDATE shards SET state = 'readonly', pool_name = 'away'")
	s.fails(t, 1, "pool away is not configured", "verify", "--repair")
}

// TestVerifyInterrupted: of shards that were not tried nothing is said but their number.
func TestVerifyInterrupted(t *testing.T) {
	s := newSite(t, roletest.Directory(t, ""))
	s.must(t, "db", "init")
	args := []string{"--config", s.config, "verify", "--no-progress"}
	var names []string
	for i := range 4 {
		names = append(names, s.store(t, roletest.Objects(uint64(i+1), 10, 100)[1:]))
		args = append(args, "--shard", names[i])
	}
	unlock := s.locking(t, fmt.Sprintf("LOCK TABLE shard_%s IN ACCESS EXCLUSIVE MODE", names[1]))
	cmd := exec.CommandContext(t.Context(), binary, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	expect.NoError(t, cmd.Start())
	expect.Eventually(t, "the second shard to wait for the lock", func() bool {
		return s.sql(t, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'") == "1"
	})
	expect.NoError(t, cmd.Process.Signal(os.Interrupt))
	_ = cmd.Wait()
	unlock()
	for _, want := range []string{"1 of 4 shards have findings, or could not be read; stopped: 2 shards were not tried", "verified 2 shards: "} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("status %d, %s, want %q", cmd.ProcessState.ExitCode(), &stderr, want)
		}
	}
}

// TestRestore restores a damaged object from a file, and changes nothing else.
func TestRestore(t *testing.T) {
	files := roletest.Directory(t, "")
	objects := roletest.Objects(1, 50, 3000)
	names := pack(t, files, objects)
	s := newSite(t, files)
	s.must(t, "db", "init")
	s.must(t, "shards", "import")
	image := filepath.Join(files.BaseDirectory, "files", names[0])
	whole, err := os.ReadFile(image)
	expect.NoError(t, err)
	object := objects[20]
	place := bytes.Index(whole, object.Content)
	if place < 0 || len(object.Content) < 9 {
		t.Fatalf("no object at %d", place)
	}
	dir := t.TempDir()
	copied := write(t, dir, "copy", string(object.Content))
	other := write(t, dir, "other", "of no object")
	intact := write(t, dir, "intact", string(objects[21].Content))
	for name, at := range map[string]int{"content": place + 5, "length": place - 1, "length, far too long": place - 5} {
		damaged := bytes.Clone(whole)
		damaged[at] ^= 0x55
		expect.NoError(t, os.Chmod(image, 0o600))
		expect.NoError(t, os.WriteFile(image, damaged, 0o600))
		expect.NoError(t, os.Chmod(image, 0o400))
		s.fails(t, 1, "1 of 1 shards", "verify")
		s.fails(t, 1, "the index does not have it", "objects", "restore", other, copied, intact)
		if got := s.must(t, "verify"); !strings.Contains(got, "50 objects are intact") {
			t.Errorf("%s: %s", name, got)
		}
		if now, err := os.ReadFile(image); err != nil || !bytes.Equal(now, whole) {
			t.Errorf("%s: the image differs from the original, %v", name, err)
		}
	}
	if rows := s.rows(t, "objects", "restore", copied); len(rows) != 1 || rows[0]["restored"] != false || rows[0]["shard"] != names[0] {
		t.Errorf("an intact object: %v", rows)
	}
	entry := bytes.LastIndex(whole, object.ID[:])
	damaged := bytes.Clone(whole)
	damaged[entry] ^= 0x55
	expect.NoError(t, os.Chmod(image, 0o600))
	expect.NoError(t, os.WriteFile(image, damaged, 0o600))
	expect.NoError(t, os.Chmod(image, 0o400))
	s.fails(t, 1, "has no usable position", "objects", "restore", copied)
	if now, err := os.ReadFile(image); err != nil || !bytes.Equal(now, damaged) {
		t.Errorf("an entry that is damaged: the image was changed, %v", err)
	}
	s.fails(t, 78, "at least one FILE", "objects", "restore")
}
