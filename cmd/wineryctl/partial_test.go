// SPDX-License-Identifier: GPL-3.0-or-later

package main_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"winery/pool/pooltest"
	"winery/test/expect"
	"winery/test/roletest"
)

// TestVerifyWithAPoolMissing: what was found is printed, although one pool cannot be listed.
func TestVerifyWithAPoolMissing(t *testing.T) {
	files, other, third := roletest.Directory(t, ""), roletest.Directory(t, ""), roletest.Directory(t, "")
	other.Name, third.Name = "other", "third"
	damaged := pack(t, files, roletest.Objects(1, 100, 1000))[0]
	s := newSite(t, files, other, third)
	s.must(t, "db", "init")
	s.must(t, "shards", "import")
	e, err := s.pools["files"].Edit(t.Context(), damaged, pooltest.Anything{})
	expect.NoError(t, err)
	_, err = e.WriteAt([]byte{0xaa, 0xbb, 0xcc, 0xdd}, 3000)
	expect.NoError(t, err)
	expect.NoError(t, e.Close())
	roletest.Put(t, s.pools["third"], "stray", roletest.Objects(2, 20, 1000))
	expect.NoError(t, os.Rename(filepath.Join(other.BaseDirectory, "other"), filepath.Join(other.BaseDirectory, "away")))

	stdout, stderr, status := ctl(t, "--config", s.config, "verify", "--output", "json")
	var rows []struct {
		Shard    string
		Findings []struct{ Kind string }
	}
	expect.NoError(t, json.Unmarshal([]byte(stdout), &rows))
	if status != 1 || len(rows) != 2 || rows[0].Shard != damaged || rows[0].Findings[0].Kind != "object damaged" || rows[1].Shard != "stray" {
		t.Errorf("status %d, %s", status, stdout)
	}
	for _, want := range []string{"verified 1 shards: ", ` 2 findings`, "1 of 1 shards have findings", `pool \"other\"`} {
		if !strings.Contains(stderr, want) {
			t.Errorf("stderr does not say %s: %s", want, stderr)
		}
	}
}

// TestReconcileWithAPoolLost: what was adopted is printed, although a pool cannot be listed
// any more afterwards.
func TestReconcileWithAPoolLost(t *testing.T) {
	files, other := roletest.Directory(t, ""), roletest.Directory(t, "")
	other.Name = "other"
	s := newSite(t, files, other)
	s.must(t, "db", "init")
	objects := roletest.Objects(1, 20, 1000)
	claim := s.writing(t, "files", objects)
	expect.NoError(t, claim.Release(t.Context()))
	roletest.Put(t, s.pools["files"], claim.Name(), objects)

	unlock := s.locking(t, "LOCK TABLE signature2shard IN SHARE MODE")
	cmd := exec.CommandContext(t.Context(), binary, "--config", s.config, "index", "reconcile", "--output", "json")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	expect.NoError(t, cmd.Start())
	expect.Eventually(t, "the adoption to wait for the index", func() bool {
		return s.sql(t, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'") == "1"
	})
	expect.NoError(t, os.Rename(filepath.Join(other.BaseDirectory, "other"), filepath.Join(other.BaseDirectory, "away")))
	unlock()
	_ = cmd.Wait()
	var rows []struct{ Image string }
	expect.NoError(t, json.Unmarshal(stdout.Bytes(), &rows))
	if status := cmd.ProcessState.ExitCode(); status != 1 || len(rows) != 1 || rows[0].Image != claim.Name() || !strings.Contains(stderr.String(), `pool \"other\"`) {
		t.Errorf("status %d, %s, %s", status, &stdout, &stderr)
	}
}
