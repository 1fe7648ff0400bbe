// SPDX-License-Identifier: GPL-3.0-or-later

package main_test

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"winery/test/expect"
	"winery/test/roletest"
)

// TestHosts lists hosts and forgets one, which is refused while the host is in use.
func TestHosts(t *testing.T) {
	s := newSite(t, roletest.Directory(t, ""))
	s.must(t, "db", "init")
	s.sql(t, `INSERT INTO shards (name, state, pool_name, mapped_on_hosts_when_packed) VALUES
		('a', 'packed', 'files', '{ceph3}'), ('b', 'packed', 'files', '{ceph3,ceph4}'), ('c', 'readonly', 'files', '{ceph3}')`)
	s.sql(t, `INSERT INTO winery_process (id, role, host, pid, version, lease, last_seen, status, failing) VALUES
		(gen_random_uuid(), 'mapper', 'ceph3', 4711, '', '1 min', now() + interval '1 hour', '', false),
		(gen_random_uuid(), 'packer', 'ceph5', 4711, '', '1 min', now() - interval '7 min', '', false)`)
	lines := strings.Split(s.must(t, "hosts", "list"), "\n")
	for i, want := range []string{
		"HOST   LAST SEEN     ROLES   LEASES  IMAGES MAPPED",
		"ceph3  0 s ago       mapper  0       3",
		"ceph4  no heartbeat  -       0       1",
		"ceph5  7 min ago     packer  0       0",
	} {
		if lines[i] != want {
			t.Errorf("line %d: %q, want %q", i, lines[i], want)
		}
	}
	rows := s.rows(t, "hosts", "list")
	if len(rows) != 3 || rows[0]["running"] != true || rows[0]["mapped"] != 3.0 || rows[1]["last_seen"] != nil || rows[2]["running"] != false {
		t.Errorf("%v", rows)
	}

	s.fails(t, 1, "s ago from mapper (pid 4711); stop the roles on the host, or use --force", "hosts", "forget", "ceph3")
	s.sql(t, "DELETE FROM winery_process WHERE host = 'ceph3'")
	if got := s.must(t, "hosts", "forget", "ceph3"); got != "host ceph3: removed from 3 shards; 1 shards with a table have now been mapped by fewer than 1 hosts\n" {
		t.Errorf("%q", got)
	}
	if got := s.must(t, "hosts", "forget", "--output", "json", "--min-mapped-hosts", "2", "ceph4"); !strings.Contains(got, `"lacking": 1`) {
		t.Errorf("%q", got)
	}
	s.must(t, "hosts", "forget", "ceph5") // has only a dead process
	if rows := s.rows(t, "hosts", "list"); len(rows) != 0 {
		t.Errorf("after all were forgotten: %v", rows)
	}
	s.fails(t, 78, "takes the name of one HOST", "hosts", "forget")
	s.fails(t, 1, "no shard, process or lease names host ceph3; see `wineryctl hosts list`", "hosts", "forget", "ceph3") // again
	s.fails(t, 1, `no shard, process or lease names host ceph33`, "hosts", "forget", "--output", "json", "ceph33")
}

// TestForgetIsInterrupted: what was done before a signal is printed, as JSON where that is
// asked for.
func TestForgetIsInterrupted(t *testing.T) {
	s := newSite(t, roletest.Directory(t, ""))
	s.must(t, "db", "init")
	s.sql(t, `INSERT INTO shards (name, state, pool_name, mapped_on_hosts_when_packed)
		SELECT 'shard' || n, 'readonly', 'files', '{ceph3}' FROM generate_series(1, 1001) n ORDER BY n`)
	unlock := s.locking(t, "SELECT FROM shards WHERE id = (SELECT max(id) FROM shards) FOR UPDATE")
	defer unlock()
	cmd := exec.CommandContext(t.Context(), binary, "--config", s.config, "hosts", "forget", "--output", "json", "ceph3")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	expect.NoError(t, cmd.Start())
	expect.Eventually(t, "the second batch to wait", func() bool {
		return s.sql(t, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'") == "1"
	})
	expect.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	_ = cmd.Wait()
	var got struct{ Host, Shards any }
	if err := json.Unmarshal(stdout.Bytes(), &got); err != nil || got.Host != "ceph3" || got.Shards != 1000.0 || cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("%v: status %d, stdout %q, stderr %q", err, cmd.ProcessState.ExitCode(), &stdout, &stderr)
	}
}
