// SPDX-License-Identifier: GPL-3.0-or-later

package chaos

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// postmaster is the process id in PostgreSQL's own pid file, if that process
// is at home in its folder: the number may be another's by now.
func postmaster(dir string) (int, error) {
	data := filepath.Join(dir, "data")
	file, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(file), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil {
		return 0, fmt.Errorf("postmaster.pid: %w", err)
	}
	home, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	if err != nil {
		return 0, fmt.Errorf("PostgreSQL: %w", err)
	}
	if home != data {
		return 0, fmt.Errorf("process %d is not the PostgreSQL of %s", pid, data)
	}
	return pid, nil
}

// children are the process ids of a process's children.
func children(pid int) (pids []int, err error) {
	list, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil, err
	}
	for _, word := range strings.Fields(string(list)) {
		child, err := strconv.Atoi(word)
		if err != nil {
			return nil, err
		}
		pids = append(pids, child)
	}
	return pids, nil
}

// signalAll sends a signal to several processes; some may be gone.
func signalAll(pids []int, sig syscall.Signal) error {
	var errs []error
	for _, pid := range pids {
		if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			errs = append(errs, fmt.Errorf("process %d: %v: %w", pid, sig, err))
		}
	}
	return errors.Join(errs...)
}

// suspendPostgres stops the postmaster and then its children.
func suspendPostgres(dir string) (resume func() error, err error) {
	pid, err := postmaster(dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return nil, err
	}
	all, err := children(pid)
	all = append(all, pid)
	return func() error { return signalAll(all, syscall.SIGCONT) }, errors.Join(err, signalAll(all, syscall.SIGSTOP))
}

// killBackend kills the child that was started last: a connection's, as a rule.
// PostgreSQL then ends all connections and recovers.
func killBackend(dir string) error {
	pid, err := postmaster(dir)
	if err != nil {
		return err
	}
	all, err := children(pid)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return errors.New("PostgreSQL has no children to kill")
	}
	return signalAll(all[len(all)-1:], syscall.SIGKILL)
}
