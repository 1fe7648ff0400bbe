// SPDX-License-Identifier: GPL-3.0-or-later

package roletest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"winery/test/expect"
)

// Halt is where a process gets a signal: where it passes Point for the Nth
// time, 1 for the first. It stays there until it gets SIGCONT. The zero Signal
// lets the rest of the process live on meanwhile.
type Halt struct {
	Point  Point
	Nth    int
	Signal syscall.Signal
}

// String is a name for people.
func (h Halt) String() string {
	if h.Nth == 1 {
		return string(h.Point)
	}
	return fmt.Sprintf("%s #%d", h.Point, h.Nth)
}

// What begins the lines of a process about itself.
const (
	passing = "at: "
	halted  = "halted"
)

// Tell says something to the test that started this process.
func Tell(line string) { fmt.Println(line) }

// Process takes a role's step on a stage.
type Process struct {
	halt   Halt
	cmd    *exec.Cmd
	halted chan struct{} // closed when it has reached its halt
	ended  chan struct{} // closed when it is gone; err is set by then
	err    error

	mu   sync.Mutex
	said bytes.Buffer
}

// Start starts a process that takes the step of one of this test binary's
// roles. It is gone with the test.
func (s *Stage) Start(t testing.TB, role string, halt Halt) *Process {
	t.Helper()
	text, err := json.Marshal(order{s.DSN, s.Config, role, s.Imported, halt})
	expect.NoError(t, err)
	p := &Process{
		halt:   halt,
		cmd:    exec.CommandContext(t.Context(), os.Args[0]), //nolint:gosec // ourselves
		halted: make(chan struct{}), ended: make(chan struct{}),
	}
	p.cmd.Env = append(os.Environ(), orderEnv+"="+string(text))
	p.cmd.Stdout, p.cmd.Stderr = p, p
	expect.NoError(t, p.cmd.Start())
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() { <-p.ended }) // killed by the end of the context
	return p
}

// Write takes what the process says.
func (p *Process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.said.Len()
	p.said.Write(b)
	text := p.said.String()
	if strings.Contains(text, halted+"\n") && !strings.Contains(text[:before], halted+"\n") {
		close(p.halted)
	}
	return len(b), nil
}

// Halted waits until the process has reached its halt and, with SIGSTOP, is
// stopped.
func (p *Process) Halted(t testing.TB) {
	t.Helper()
	select {
	case <-p.halted:
	case <-p.ended:
		t.Fatalf("the process ended before its halt: %v\n%s", p.err, p.Said())
	}
	if p.halt.Signal == unix.SIGSTOP {
		expect.NoError(t, unix.Waitid(unix.P_PID, p.cmd.Process.Pid, nil, unix.WSTOPPED|unix.WEXITED|unix.WNOWAIT, nil))
	}
}

// Killed waits until the process has been killed at its halt.
func (p *Process) Killed(t testing.TB) {
	t.Helper()
	<-p.ended
	if status, _ := p.cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGKILL {
		t.Fatalf("the process to be killed ended by itself: %v\n%s", p.err, p.Said())
	}
}

// Continue sends SIGCONT.
func (p *Process) Continue(t testing.TB) {
	t.Helper()
	expect.NoError(t, p.cmd.Process.Signal(unix.SIGCONT))
}

// patience is how long a process may take that does not halt.
const patience = 2 * time.Minute

// Wait waits for the end of the process, and tells how it ended: nil for exit
// status 0.
func (p *Process) Wait(t testing.TB) error {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		t.Fatalf("the process has not ended after %v: %s", patience, p.Said())
	}
	if p.err != nil {
		return fmt.Errorf("%w: %s", p.err, p.Said())
	}
	return nil
}

// Way is the points that the process has passed.
func (p *Process) Way() (points []Point) {
	for line := range strings.Lines(p.text()) {
		if point, ok := strings.CutPrefix(strings.TrimSpace(line), passing); ok {
			points = append(points, Point(point))
		}
	}
	return points
}

// Said is what the process has said besides.
func (p *Process) Said() string {
	var said strings.Builder
	for line := range strings.Lines(p.text()) {
		if !strings.HasPrefix(line, passing) {
			said.WriteString(line)
		}
	}
	return said.String()
}

func (p *Process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said.String()
}
