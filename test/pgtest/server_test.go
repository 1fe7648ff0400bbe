// SPDX-License-Identifier: GPL-3.0-or-later

package pgtest_test

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"winery/test/expect"
	"winery/test/pgtest"
)

// A private server refuses clients without its password, and so does the one of all tests.
func TestPassword(t *testing.T) {
	s := pgtest.Start(t)
	u, err := url.Parse(s.DSN)
	expect.NoError(t, err)
	shared, err := url.Parse(os.Getenv(pgtest.Env))
	expect.NoError(t, err)
	for name, server := range map[string]string{
		"TCP": "host=" + u.Hostname() + " port=" + u.Port(), "unix socket": "host=" + s.Dir + " port=" + u.Port(),
		"TCP, the server of all tests": "host=" + shared.Hostname() + " port=" + shared.Port(),
	} {
		dsn := server + " dbname=postgres user=" + u.User.Username()
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
	for name, says := range map[string]string{
		"pg-up": "is not empty", "pg-down": "nothing is removed", "pg-restart": "was not made by scripts/pg-up",
		"ceph-up": "is not empty", "ceph-down": "nothing is removed",
	} {
		if said, err := script(t, name, dir); err == nil || !strings.Contains(said, says) {
			t.Errorf("%s: %v, %s", name, err, said)
		}
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*", "precious")); err != nil || len(left) != 4 {
		t.Errorf("left are %v, %v", left, err)
	}
}

// script returns what one of the scripts says.
func script(t *testing.T, name, dir string) (says string, err error) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "../../scripts/"+name, dir).CombinedOutput()
	return string(out), err
}

// TestNothingInstalled: where PostgreSQL or a part of Ceph is missing, the scripts say so.
func TestNothingInstalled(t *testing.T) {
	programs := t.TempDir()
	program := func(name, text string) {
		expect.NoError(t, os.WriteFile(filepath.Join(programs, name), []byte("#!/bin/sh\n"+text+"\n"), 0o700))
	}
	program("find", `shift; exec /usr/bin/find /nosuch "$@"`)
	t.Setenv("PATH", programs+":"+os.Getenv("PATH"))
	if says, err := script(t, "pg-up", filepath.Join(t.TempDir(), "pg")); err == nil || !strings.Contains(says, "no PostgreSQL in /usr/lib/postgresql: run scripts/install-deps") {
		t.Errorf("pg-up: %v, %q", err, says)
	}
	program("realpath", `exec /usr/bin/realpath "$@"`)
	program("ceph", "")
	t.Setenv("PATH", programs)
	if says, err := script(t, "ceph-up", filepath.Join(t.TempDir(), "ceph")); err == nil || !strings.Contains(says, "no ceph-osd on this machine: run scripts/install-deps") {
		t.Errorf("ceph-up: %v, %q", err, says)
	}
}
