// SPDX-License-Identifier: GPL-3.0-or-later

package main_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"winery/test/expect"
	"winery/test/logtest"
	"winery/test/roletest"
)

// running records the processes of a fleet that seems to run.
func (s *site) running(t *testing.T) {
	t.Helper()
	s.sql(t, `INSERT INTO winery_process (id, role, host, pid, version, lease, last_seen, status, failing)
		SELECT gen_random_uuid(), role, 'ceph1', 4711, '1.0', '1 min', now() + interval '1 hour', 'nothing to do', false
		FROM unnest('{writer,packer,mapper,cleaner}'::text[]) role`)
}

// TestStatus: the exit status is 0 without problems, 1 if there are problems, and 2 if the
// database does not answer. Its JSON has the pools nevertheless.
func TestStatus(t *testing.T) {
	s := newSite(t, roletest.Directory(t, ""))
	s.must(t, "db", "init")
	s.running(t)
	printed := s.must(t, "status")
	for _, want := range []string{"  no problems\n", "writer   ceph1  4711  1.0      0 s ago    nothing to do\n", "files  directory  ok\n"} {
		if !strings.Contains(printed, want) {
			t.Errorf("no %q in\n%s", want, printed)
		}
	}

	s.sql(t, "INSERT INTO shards (name, state, pool_name) SELECT 'shard' || n, 'readonly', 'files' FROM generate_series(1, 12) n")
	s.sql(t, "INSERT INTO winery_quarantine (shard, reason, role, host) SELECT id, 'object damaged', 'mapper', 'ceph1' FROM shards")
	stdout, stderr, status := ctl(t, "--config", s.config, "status")
	if status != 1 || stderr != "wineryctl: problems found: 1\n" || !strings.Contains(stdout, "\nW001 error: 12 shards are quarantined") ||
		!strings.Contains(stdout, "        and 2 more\n  cure  wineryctl verify --shard NAME;") {
		t.Errorf("status %d, stderr %q, stdout\n%s", status, stderr, stdout)
	}

	text, err := os.ReadFile(s.config)
	expect.NoError(t, err)
	config := write(t, t.TempDir(), "winery.yml", strings.ReplaceAll(string(text), s.dsn, "postgresql://127.0.0.1:1/winery"))
	stdout, stderr, status = ctl(t, "--config", config, "status", "--output", "json")
	var report map[string]any
	expect.NoError(t, json.Unmarshal([]byte(stdout), &report))
	pool := report["pools"].([]any)[0].(map[string]any)
	if status != 2 || !strings.Contains(stderr, "the database could not be read") || report["verdict"] != "unknown" ||
		pool["name"] != "files" || pool["state"] != "not compared" || pool["error"] == "" {
		t.Errorf("status %d, stderr %q, stdout\n%s", status, stderr, stdout)
	}
	s.fails(t, 78, "must be table or json", "status", "--output", "xml")
}

// TestPoolsThatCannotBeOpened are problems in the reports, and do not end a report. No
// command opens a cache.
func TestPoolsThatCannotBeOpened(t *testing.T) {
	s := newSite(t, roletest.Directory(t, ""))
	s.must(t, "db", "init")
	text, err := os.ReadFile(s.config)
	expect.NoError(t, err)
	far := func(name, more string) string {
		return fmt.Sprintf(`{"type": "mosaic-s3", "pool_name": %q, "shard_max_size": 1000, "base_url": "s3://bucket", "read_only": true, "anonymous": true, %s},`, name, more)
	}
	config := write(t, t.TempDir(), "winery.yml", strings.Replace(string(text), `"shards_pools":[`, `"shards_pools":[`+
		far("uncached", `"cache_directory": "/nonexistent", "cache_size": 100000, "boto3_config": {"endpoint_url": "http://127.0.0.1:1"}`)+
		far("untrusted", `"boto3_config": {"endpoint_url": "https://127.0.0.1:1", "verify": "/nonexistent/ca.pem"}`), 1))
	for _, command := range [][]string{{"status"}, {"doctor", "--patience", "1s"}, {"pool", "list"}} {
		stdout, stderr, _ := ctl(t, append([]string{"--config", config}, command...)...)
		printed := stdout + stderr
		if !strings.Contains(stdout, "files") || !strings.Contains(stdout, "uncached") || !strings.Contains(printed, "untrusted: ") ||
			!strings.Contains(printed, "/nonexistent/ca.pem") || strings.Contains(printed, "cache_directory") {
			t.Errorf("%q: stderr %q, stdout\n%s", command, stderr, stdout)
		}
	}
}

// TestStatusWatch: --watch ends by a signal, with the exit status of its last report.
func TestStatusWatch(t *testing.T) {
	s := newSite(t, roletest.Directory(t, ""))
	s.must(t, "db", "init")
	s.running(t)
	var out logtest.Log
	cmd := exec.CommandContext(t.Context(), binary, "--config", s.config, "status", "--watch")
	cmd.Stdout, cmd.Stderr = &out, &out
	expect.NoError(t, cmd.Start())
	out.Wait(t, "STATE ON THIS HOST")
	expect.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, &out)
	}
}
