// SPDX-License-Identifier: GPL-3.0-or-later

package cephtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Private is a Ceph for one test alone, with the pools "shards" and
// "shards-data". The test may stop and kill its OSD.
type Private struct {
	Conf string // path of the ceph.conf

	t testing.TB
}

// Start makes a Ceph that is gone with the test.
func Start(t testing.TB) *Private {
	t.Helper()
	dir, err := os.MkdirTemp("", "winery-ceph-")
	if err != nil {
		t.Fatal(err)
	}
	_, file, _, _ := runtime.Caller(0)
	scripts := filepath.Join(filepath.Dir(file), "..", "..", "scripts")
	p := &Private{t: t}
	t.Cleanup(func() {
		if t.Failed() {
			p.tell(filepath.Join(dir, "c", "run", "osd.0.log"))
		}
		p.run(filepath.Join(scripts, "ceph-down"), filepath.Join(dir, "c"))
		_ = os.RemoveAll(dir)
	})
	p.Conf = strings.TrimSpace(p.run(filepath.Join(scripts, "ceph-up"), filepath.Join(dir, "c"), "2"))
	return p
}

// tell logs what Ceph says of itself, for a test that failed.
func (p *Private) tell(osdLog string) {
	p.t.Helper()
	for _, cmd := range []*exec.Cmd{
		exec.Command("timeout", "10", "ceph", "--conf", p.Conf, "status"), //nolint:gosec // of this test
		exec.Command("tail", "-n", "40", osdLog),                          //nolint:gosec // this test's own file
	} {
		out, err := cmd.CombinedOutput()
		p.t.Logf("%s: %v\n%s", cmd, err, out)
	}
}

func (p *Private) run(name string, args ...string) string {
	p.t.Helper()
	cmd := exec.Command(name, args...) //nolint:gosec // our own scripts, and Ceph's programs
	cmd.Env = append(os.Environ(), Env+"="+p.Conf)
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		p.t.Fatalf("%s %v: %v\n%s", name, args, err, complaints.String())
	}
	return string(out)
}

// Ceph runs a command of an operator's.
func (p *Private) Ceph(args ...string) string {
	p.t.Helper()
	return p.run("ceph", args...)
}

// SignalOSD sends sig to the OSD; after SIGKILL it is gone, after SIGSTOP it has stopped.
func (p *Private) SignalOSD(sig syscall.Signal) {
	p.t.Helper()
	text, err := os.ReadFile(filepath.Join(filepath.Dir(p.Conf), "run", "osd.0.pid"))
	if err != nil {
		p.t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err == nil {
		err = syscall.Kill(pid, sig)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	for sig == syscall.SIGKILL && !gone(pid) || sig == syscall.SIGSTOP && !stopped(pid) {
		runtime.Gosched()
	}
}

// gone reports whether a process, and its last thread, has let go of its files.
func gone(pid int) bool {
	proc := fmt.Sprintf("/proc/%d/", pid)
	threads, _ := os.ReadDir(proc + "task")
	status, _ := os.ReadFile(proc + "status") //nolint:gosec // empty where it was reaped
	return len(threads) <= 1 && (len(status) == 0 || strings.Contains(string(status), "State:\tZ"))
}

// stopped reports whether no thread of a process runs any more.
func stopped(pid int) bool {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return strings.Contains(string(status), "State:\tT")
}

// StartOSD starts the OSD that was killed.
func (p *Private) StartOSD() {
	p.t.Helper()
	p.run("ceph-osd", "-i", "0")
}
