// SPDX-License-Identifier: GPL-3.0-or-later

package main_test

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"winery/internal/config"
	"winery/test/cephtest"
	"winery/test/expect"
	"winery/test/logtest"
	"winery/test/roletest"
)

// poolOn is a pool on a Ceph of the test's own.
func poolOn(ceph *cephtest.Private) config.Pool {
	return config.Pool{
		Type: config.RBD, Name: "shards", DataPool: "shards-data", ShardMaxSize: roletest.ShardMaxSize,
		Map: config.MapLibrbd, CephConf: ceph.Conf,
	}
}

// TestSecondSignal ends a command that hangs in Ceph's library. Reports end by themselves,
// and have no other problem with the pool than that it does not answer.
func TestSecondSignal(t *testing.T) {
	ceph := cephtest.Start(t)
	images := poolOn(ceph)
	pack(t, images, roletest.Objects(1, 10, 1000))
	s := newSite(t, images)
	s.must(t, "db", "init")
	s.must(t, "shards", "import")
	ceph.SignalOSD(syscall.SIGSTOP)
	defer ceph.SignalOSD(syscall.SIGCONT)
	for second, status := range map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 143} {
		cmd := exec.CommandContext(t.Context(), binary, "--config", s.config, "pool", "init", "shards")
		var stderr logtest.Log
		cmd.Stderr = &stderr
		expect.NoError(t, cmd.Start())
		expect.Eventually(t, "the command to wait for Ceph", func() bool { // the command is done with the database, and waits for Ceph
			return s.sql(t, `SELECT coalesce(bool_and(state = 'idle' AND state_change < now() - interval '2 seconds'), false)
				FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'wineryctl'`) == "t"
		})
		expect.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		stderr.Wait(t, "terminated: stopping; send the signal again to exit at once")
		expect.NoError(t, cmd.Process.Signal(second))
		began := time.Now()
		_ = cmd.Wait()
		if got := cmd.ProcessState.ExitCode(); got != status {
			t.Errorf("status %d, want %d: %s", got, status, stderr.String())
		}
		t.Logf("ended %v after %v", time.Since(began), second)
	}
	for _, command := range [][]string{{"status"}, {"pool", "list"}} {
		stdout, stderr, _ := ctl(t, append([]string{"--config", s.config}, command...)...)
		if !strings.Contains(stdout, "unavailable") || strings.Contains(stderr, "still open") {
			t.Errorf("%q: stderr %q, stdout\n%s", command, stderr, stdout)
		}
	}
}
