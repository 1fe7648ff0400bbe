// SPDX-License-Identifier: GPL-3.0-or-later

package main_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"winery/internal/config"
	"winery/rbd"
	"winery/sharedbase"
	"winery/test/cephtest"
	"winery/test/expect"
)

// TestGrants: `db grants` needs no configuration, and refuses a prefix that SQL would
// have to quote.
func TestGrants(t *testing.T) {
	script := must(t, "db", "grants", "--prefix", "site1", "--min-mapped-hosts", "3", "--also", "Python's")
	for _, want := range []string{"site1_owner", "site1_status", "winery.min_mapped_hosts = '3'", `GRANT site1_owner TO "Python's"`} {
		if !strings.Contains(script, want) {
			t.Errorf("the script has no %q", want)
		}
	}
	if _, stderr, status := ctl(t, "db", "grants", "--prefix", "x; DROP TABLE shards"); status != 78 || !strings.Contains(stderr, "--prefix") {
		t.Errorf("status %d, stderr %q; expected 78 and --prefix", status, stderr)
	}
}

// TestCephCaps: what `ceph caps` prints makes the users and their keyrings, and a second
// time it corrects their caps.
func TestCephCaps(t *testing.T) {
	pools := cephtest.New(t)
	s := newSite(t, config.Pool{
		Type: config.RBD, Name: pools.Pool, DataPool: pools.DataPool, ShardMaxSize: 1 << 20, Map: config.MapLibrbd, CephConf: pools.Conf,
	})
	prefix := strings.TrimPrefix(pools.Pool, "test-")
	name := func(role string) string { return "client." + prefix + "-" + role }
	dir := t.TempDir()
	run := func(program, input string, args ...string) string {
		cmd := exec.CommandContext(context.WithoutCancel(t.Context()), program, args...)
		cmd.Dir, cmd.Stdin = dir, strings.NewReader(input)
		out, err := cmd.Output()
		expect.NoError(t, err)
		return string(out)
	}
	t.Cleanup(func() {
		removals := ""
		for _, user := range sharedbase.Users {
			removals += "auth rm " + name(user) + "\n"
		}
		run("ceph", removals)
	})
	script := s.must(t, "ceph", "caps", "--prefix", prefix)
	run("sh", script, "-e")
	run("ceph", "", "auth", "caps", name("writer"), "mon", "profile rbd")
	again := regexp.MustCompile(`(?m)^.*-writer .*\n`).FindAllString(script, -1)
	run("sh", strings.Join(again, ""), "-e")

	for role, want := range map[string]rbd.Caps{
		"writer": rbd.ReadCaps(pools.Pool, pools.DataPool), "mapper": rbd.ReadCaps(pools.Pool, pools.DataPool),
		"packer": rbd.WriteCaps(pools.Pool, pools.DataPool), "cleaner": rbd.WriteCaps(pools.Pool, pools.DataPool),
	} {
		got := run("ceph", "", "auth", "get", name(role))
		if !strings.Contains(got, fmt.Sprintf("caps mon = %q\n", want.Mon)) || !strings.Contains(got, fmt.Sprintf("caps osd = %q\n", want.OSD)) {
			t.Errorf("%s has %s, want %v", role, got, want)
		}
		keyring, err := os.ReadFile(filepath.Join(dir, "ceph."+name(role)+".keyring"))
		if key := regexp.MustCompile(`key = \S+`).FindString(string(keyring)); err != nil || key == "" || !strings.Contains(got, key) {
			t.Errorf("the keyring of %s has not its key: %v", role, err)
		}
	}
}
