// SPDX-License-Identifier: GPL-3.0-or-later

package pooltest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"winery/pool"
	"winery/test/expect"
)

// victimSays is what a victim prints once its draft holds bytes.
const victimSays = "the draft is written"

// BeVictim writes a draft of the image, full of bytes or 12 MiB long, tells
// [Kill] or [Stop] so, and writes it again and again until it is killed or its
// input ends; then it commits. A TestMain calls it where the environment that
// Kill or Stop was given asks for it, and prints its error.
func BeVictim(p pool.Pool, name string) error {
	d, err := p.Create(context.Background(), name, 0, Anything{})
	if err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	content := pattern(99, int(min(d.Size(), 12*mib)))
	for said := false; ; said = true {
		if _, err := d.WriteAt(content, 0); err != nil {
			return err
		}
		if !said {
			fmt.Println(victimSays)
		}
		select {
		case <-ended:
			return d.Commit(context.Background())
		default:
		}
	}
}

// Kill starts this test's binary with env added to its environment, and kills
// it in the middle of a draft.
func Kill(t *testing.T, env ...string) {
	t.Helper()
	v := start(t, env)
	expect.NoError(t, v.cmd.Process.Kill())
	_ = v.cmd.Wait() // says that it was killed
}

// Stop starts this test's binary as Kill does, and stops it in the middle of a
// draft. goOn lets it finish the draft, and returns its report of the error.
func Stop(t *testing.T, env ...string) (goOn func() string) {
	t.Helper()
	v := start(t, env)
	expect.NoError(t, v.cmd.Process.Signal(unix.SIGSTOP))
	var status unix.WaitStatus
	for !status.Stopped() {
		_, err := unix.Wait4(v.cmd.Process.Pid, &status, unix.WUNTRACED, nil)
		expect.NoError(t, err)
	}
	return func() string {
		t.Helper()
		expect.NoError(t, v.cmd.Process.Signal(unix.SIGCONT))
		expect.NoError(t, v.stdin.Close())
		_ = v.cmd.Wait() // says that it exited with an error
		return v.stderr.String()
	}
}

// victim is a process that writes a draft.
type victim struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	stderr bytes.Buffer
}

func start(t *testing.T, env []string) *victim {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0]) //nolint:gosec // ourselves
	v := &victim{cmd: cmd}
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = &v.stderr
	stdin, err := cmd.StdinPipe()
	expect.NoError(t, err)
	v.stdin = stdin
	stdout, err := cmd.StdoutPipe()
	expect.NoError(t, err)
	expect.NoError(t, cmd.Start())
	lines := bufio.NewScanner(stdout)
	for lines.Scan() && lines.Text() != victimSays {
	}
	if lines.Text() != victimSays {
		_ = cmd.Wait()
		t.Fatalf("the victim ended by itself: %v\n%s", lines.Err(), &v.stderr)
	}
	return v
}

// AfterKill tests that nothing of a killed or stopped draft is left in the
// next one.
func AfterKill(t *testing.T, p pool.Pool, name string) {
	t.Helper()
	want := pattern(1, 1000)
	finished(t, p, name, want)
	wantContent(t, p, name, want)
}

// StillThere tests that the image that AfterKill made is as it was.
func StillThere(t *testing.T, p pool.Pool, name string) {
	t.Helper()
	wantContent(t, p, name, pattern(1, 1000))
}
