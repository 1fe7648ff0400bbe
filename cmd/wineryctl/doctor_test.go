// SPDX-License-Identifier: GPL-3.0-or-later

package main_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"winery/internal/config"
	"winery/internal/doctor"
	"winery/internal/status"
	"winery/test/cephtest"
	"winery/test/expect"
	"winery/test/pgtest"
	"winery/test/roletest"
)

// TestDoctor: a healthy site has no problem, and is unchanged afterwards. With a problem the
// exit status is 1, and where a check cannot be made 2.
func TestDoctor(t *testing.T) {
	// A Ceph of its own: other tests add to the blocklist of theirs.
	files, images := roletest.Directory(t, ""), poolOn(cephtest.Start(t))
	s := newSiteOn(t, pgtest.Start(t).DSN, files, images)
	s.must(t, "db", "init")
	expect.Eventually(t, "Ceph to know the size of its pool", func() bool { _, err := s.pools[images.Name].Space(t.Context()); return err == nil })

	before := s.contents(t, files, images)
	printed := s.must(t, "doctor")
	t.Logf("\n%s", printed)
	lines := strings.Split(strings.TrimSpace(printed), "\n")
	for _, line := range lines[1:] {
		if !strings.HasPrefix(line, "ok ") {
			t.Errorf("line %q", line)
		}
	}
	if want := 1 + 15 + 2*3; len(lines) != want {
		t.Errorf("%d lines, want %d", len(lines), want)
	}
	if after := s.contents(t, files, images); before != after {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}

	s.sql(t, "INSERT INTO shards (name, state, pool_name) VALUES ('one', 'readonly', 'old')")
	stdout, stderr, exit := ctl(t, "--config", s.config, "doctor")
	if exit != 1 || stderr != "wineryctl: problems found: 1\n" ||
		!strings.Contains(stdout, "is not configured on this host: pool old, with 1 shard\n") ||
		!strings.Contains(stdout, "cure: add the pool to shards_pools on each host\n") {
		t.Errorf("status %d, stderr %q, stdout\n%s", exit, stderr, stdout)
	}

	text, err := os.ReadFile(s.config)
	expect.NoError(t, err)
	unreachable := write(t, t.TempDir(), "winery.yml", strings.ReplaceAll(string(text), s.dsn, "postgresql://127.0.0.1:1/winery"))
	stdout, stderr, exit = ctl(t, "--config", unreachable, "doctor", "--role", "packer", "--output", "json")
	var report doctor.Report
	expect.NoError(t, json.Unmarshal([]byte(stdout), &report))
	last := report.Checks[len(report.Checks)-1]
	if exit != 2 || !strings.Contains(stderr, "could not be made") || report.Verdict != status.Unknown || last.Check != "space" || last.Pool != images.Name || last.State != doctor.OK {
		t.Errorf("status %d, stderr %q, stdout\n%s", exit, stderr, stdout)
	}
	s.fails(t, 78, "--role: found \"nonsense\"", "doctor", "--role", "nonsense")
}

// contents are the database, and what the folder of one pool and the Ceph pools of the other have.
func (s *site) contents(t *testing.T, files, images config.Pool) string {
	t.Helper()
	dump := command(t, "pg_dump", s.dsn)
	conf := images.CephConf
	return regexp.MustCompile(`(?m)^\\(un)?restrict .*`).ReplaceAllString(dump, "") + // of a random word
		command(t, "find", files.BaseDirectory, "-printf", "%p %i %m %u %s %T+ %C+\n") +
		command(t, "rados", "--conf", conf, "--pool", images.Name, "ls") + command(t, "rados", "--conf", conf, "--pool", images.DataPool, "ls") +
		command(t, "ceph", "--conf", conf, "osd", "blocklist", "ls")
}

func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}
