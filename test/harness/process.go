// SPDX-License-Identifier: GPL-3.0-or-later

package harness

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// stopTimeout is how long a daemon may take to end after SIGTERM.
const stopTimeout = 60 * time.Second

// Process is a daemon that was started, with its log in a file.
type Process struct {
	Name string
	Log  string // path of the file that has its standard output and error

	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended; err is set by then
	err  error
}

// StartProcess runs a program that appends its log to NAME.log in logDir. The
// process has its own process group, so that a Ctrl-C meant for the demo reaches
// the daemons only as the SIGTERM that the demo sends. The caller must end it.
func StartProcess(name, logDir, program string, args ...string) (*Process, error) {
	p := &Process{Name: name, Log: filepath.Join(logDir, name+".log"), done: make(chan struct{})}
	log, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("log of %s: %w", name, err)
	}
	defer log.Close()
	p.cmd = exec.Command(program, args...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// PID is the process's id, also after it has ended.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Signal sends sig; a process that has ended already is no error.
func (p *Process) Signal(sig syscall.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("%s: %v: %w", p.Name, sig, err)
	}
	return nil
}

// Kill ends the process with SIGKILL and waits until it is gone.
func (p *Process) Kill() error {
	err := p.Signal(syscall.SIGKILL)
	<-p.done
	return err
}

// Stop asks the process to end with SIGTERM, waits, and returns how it ended:
// nil for exit status 0. One that does not end in a minute is killed.
func (p *Process) Stop() error {
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.done:
	case <-time.After(stopTimeout):
		return errors.Join(fmt.Errorf("%s did not end %s after SIGTERM; its log is %s", p.Name, stopTimeout, p.Log), p.Kill())
	}
	return p.Err()
}

// Err waits for the end of the process and tells how it ended: nil for exit
// status 0.
func (p *Process) Err() error {
	<-p.done
	if p.err != nil {
		return fmt.Errorf("%s: %w; the end of its log:\n%s", p.Name, p.err, tail(p.Log))
	}
	return nil
}

// tail gives the last lines of a log, for an error message.
func tail(path string) []byte {
	const maxBytes = 2000
	log, err := os.ReadFile(path)
	if err != nil {
		return []byte(err.Error())
	}
	return log[max(0, len(log)-maxBytes):]
}
