// SPDX-License-Identifier: GPL-3.0-or-later

package pgtest_test

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"winery/test/pgtest"
)

// A private server refuses clients without its password.
func TestPassword(t *testing.T) {
	s := pgtest.Start(t)
	u, err := url.Parse(s.DSN)
	if err != nil {
		t.Fatal(err)
	}
	user := u.User.Username()
	for name, way := range map[string]string{
		"TCP": u.Hostname(), "unix socket": s.Dir,
	} {
		dsn := "host=" + way + " port=" + u.Port() + " dbname=postgres user=" + user
		out, err := exec.Command("psql", "-X", "--no-password", "-d", dsn, "-c", "SELECT 1").CombinedOutput()
		if err == nil || !strings.Contains(string(out), "no password supplied") {
			t.Errorf("by %s: %v, %s", name, err, out)
		}
	}
}

// The scripts start in no folder that has something, and remove none that they did not make.
func TestForeignFolder(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"log", "data", "run", "mon"} {
		if err := os.MkdirAll(filepath.Join(dir, name, "precious"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for script, says := range map[string]string{
		"pg-up": "is not empty", "pg-down": "nothing is removed", "pg-restart": "was not made by scripts/pg-up",
		"ceph-up": "is not empty", "ceph-down": "nothing is removed",
	} {
		out, err := exec.Command("../../scripts/"+script, dir).CombinedOutput()
		if err == nil || !strings.Contains(string(out), says) {
			t.Errorf("%s: %v, %s", script, err, out)
		}
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*", "precious")); err != nil || len(left) != 4 {
		t.Errorf("left are %v, %v", left, err)
	}
}
