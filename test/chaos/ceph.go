// SPDX-License-Identifier: GPL-3.0-or-later

package chaos

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"winery/test/harness"
)

// cephDaemon is the process id of a daemon of the Ceph in dir, by its own pid
// file, if that process belongs to it.
func cephDaemon(dir, name string) (int, error) {
	file, err := os.ReadFile(filepath.Join(dir, "run", name+".pid"))
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(file)))
	if err != nil {
		return 0, fmt.Errorf("pid file of %s: %w", name, err)
	}
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	if !bytes.Contains(environ, []byte("CEPH_CONF="+filepath.Join(dir, "ceph.conf")+"\x00")) {
		return 0, fmt.Errorf("process %d is not %s of the Ceph in %s", pid, name, dir)
	}
	return pid, nil
}

// killCeph kills a daemon and waits until it is gone.
func killCeph(ctx context.Context, dir, name string) error {
	pid, err := cephDaemon(dir, name)
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return err
	}
	return harness.Until(ctx, func() (bool, error) {
		_, err := cephDaemon(dir, name)
		return err != nil, nil
	})
}

// startCeph starts a daemon that scripts/ceph-up had started: osd.0, mon.a.
func startCeph(ctx context.Context, dir, name string) error {
	kind, id, _ := strings.Cut(name, ".")
	return ceph(ctx, dir, "ceph-"+kind, "-i", id)
}

// suspendCeph stops a daemon.
func suspendCeph(dir, name string) (resume func() error, err error) {
	pid, err := cephDaemon(dir, name)
	if err != nil {
		return nil, err
	}
	return func() error { return syscall.Kill(pid, syscall.SIGCONT) }, syscall.Kill(pid, syscall.SIGSTOP)
}

// setQuota bounds how many RADOS objects a pool may have; 0: no bound.
func setQuota(ctx context.Context, dir, pool string, objects int) error {
	return ceph(ctx, dir, "ceph", "osd", "pool", "set-quota", pool, "max_objects", strconv.Itoa(objects))
}

// ceph runs a command of Ceph's.
func ceph(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "CEPH_CONF="+filepath.Join(dir, "ceph.conf"))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}
