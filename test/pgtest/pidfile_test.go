// SPDX-License-Identifier: GPL-3.0-or-later

package pgtest_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"winery/test/expect"
	"winery/test/pgtest"
)

// another starts a process of the server's user, and writes its number into the pid file of
// a server in dir, which is down. The process must be there when the test ends.
func another(t *testing.T, dir string) {
	t.Helper()
	command := []string{"sleep", "1000"}
	if os.Getuid() == 0 {
		command = append([]string{"setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"}, command...)
	}
	p := exec.Command(command[0], command[1:]...)
	expect.NoError(t, p.Start())
	t.Cleanup(func() {
		_ = p.Process.Kill()
		_ = p.Wait()
		if status, _ := p.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGKILL {
			t.Errorf("the other process was ended: %v", p.ProcessState)
		}
	})
	data := filepath.Join(dir, "data")
	expect.NoError(t, os.WriteFile(filepath.Join(data, "postmaster.pid"), fmt.Appendf(nil, "%d\n%s\n", p.Process.Pid, data), 0o644))
}

// TestNumberOfAnotherProcess: a pid file that was left behind has the number of a process
// that is no server. Its folder is removed, and the process stays.
func TestNumberOfAnotherProcess(t *testing.T) {
	parent, err := os.MkdirTemp("", "winery-pg-")
	expect.NoError(t, err)
	t.Cleanup(func() { expect.NoError(t, os.Remove(parent)) })
	dir := filepath.Join(parent, "pg")
	expect.NoError(t, os.MkdirAll(filepath.Join(dir, "data"), 0o700))
	expect.NoError(t, os.WriteFile(filepath.Join(dir, ".winery-pg-up"), nil, 0o600))
	expect.NoError(t, os.WriteFile(filepath.Join(dir, "data", "PG_VERSION"), []byte("15\n"), 0o644))
	for _, path := range []string{parent, dir, filepath.Join(dir, "data")} {
		expect.NoError(t, os.Chmod(path, 0o755))
	}
	another(t, dir)
	if says, err := script(t, "pg-down", dir); err != nil {
		t.Errorf("pg-down: %v, %s", err, says)
	}
}

// TestRestartBesideAnotherProcess: the same before a restart.
func TestRestartBesideAnotherProcess(t *testing.T) {
	s := pgtest.Start(t)
	s.Ctl("stop", "-m", "immediate")
	another(t, s.Dir)
	if says, err := script(t, "pg-restart", s.Dir); err != nil || !s.Holds("SELECT true") {
		t.Errorf("pg-restart: %v, %s", err, says)
	}
}
