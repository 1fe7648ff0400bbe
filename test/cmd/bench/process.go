// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/prometheus/procfs"
)

// usage is what a process and its descendants have used.
type usage struct {
	cpu  time.Duration // of all, also of those that have ended
	peak int64         // bytes of memory: the sum of the peaks of those that run
}

// clockTick is the unit of the times of /proc/PID/stat on Linux.
const clockTick = 10 * time.Millisecond

// usageOf adds up a process and its descendants. A process that ended and was
// waited for counts in its parent.
func usageOf(root int) (u usage, err error) {
	for _, p := range family(root) {
		stat, err := p.Stat()
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return usage{}, err
		}
		ticks := int(stat.UTime) + int(stat.STime) + stat.CUTime + stat.CSTime
		u.cpu += time.Duration(ticks) * clockTick
		u.peak += peakOf(p)
	}
	return u, nil
}

// peakOf is the peak of a process's memory in bytes, and 0 if the process has ended.
func peakOf(p procfs.Proc) int64 {
	status, err := p.NewStatus()
	if err != nil {
		return 0
	}
	return int64(status.VmHWM)
}

// runMeasured runs a command and returns what it has used. The peak that the kernel reports at the end is at least that
// of this process, from which the command was forked, so the command's own is read while it runs.
func runMeasured(cmd *exec.Cmd) (u usage, err error) {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return usage{}, err
	}
	ended := make(chan error)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case err := <-ended:
			u.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
			if err != nil {
				err = fmt.Errorf("%v: %w: %s", cmd, err, out.Bytes())
			}
			return u, err
		case <-time.After(20 * time.Millisecond):
			if p, err := procfs.NewProc(cmd.Process.Pid); err == nil { // it may have ended
				u.peak = max(u.peak, peakOf(p))
			}
		}
	}
}

// besideServer is the CPU that the processes beside a server have used.
type besideServer struct{ postgres, clients time.Duration }

// beside asks the processes beside the servers; the clients are this process.
func (b *bench) beside() (besideServer, error) {
	postgres, err := usageOf(b.postgres)
	if err != nil {
		return besideServer{}, err
	}
	var own syscall.Rusage
	err = syscall.Getrusage(syscall.RUSAGE_SELF, &own)
	return besideServer{postgres.cpu, time.Duration(own.Utime.Nano() + own.Stime.Nano())}, err
}

// resetPeaks makes the peaks begin at what is used now.
func resetPeaks(root int) error {
	for _, p := range family(root) {
		err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.PID), []byte("5"), 0)
		if err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return nil
}

// family is a process and its descendants.
func family(root int) procfs.Procs {
	all, err := procfs.AllProcs()
	if err != nil {
		return nil
	}
	in := map[int]bool{root: true}
	var found procfs.Procs
	for grown := true; grown; {
		grown = false
		found = found[:0]
		for _, p := range all {
			stat, err := p.Stat()
			if err != nil || !in[p.PID] && !in[stat.PPID] {
				continue
			}
			grown = grown || !in[p.PID]
			in[p.PID] = true
			found = append(found, p)
		}
	}
	return found
}
