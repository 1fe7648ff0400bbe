// SPDX-License-Identifier: GPL-3.0-or-later

package pooltest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"

	"winery/pool"
)

// victimSays is what a victim prints once its draft holds bytes.
const victimSays = "the draft is written"

// BeVictim writes a draft of the image, full of bytes or 12 MiB long,
// tells Kill so, and waits to be killed. A TestMain calls it where the
// environment that Kill was given asks for it.
func BeVictim(p pool.Pool, name string) error {
	d, err := p.Create(context.Background(), name, 0, nil)
	if err != nil {
		return err
	}
	if _, err := d.WriteAt(pattern(99, int(min(d.Size(), 12*mib))), 0); err != nil {
		return err
	}
	fmt.Println(victimSays)
	_, err = io.Copy(io.Discard, os.Stdin) // which Kill keeps open
	return err
}

// Kill starts this test's binary with env added to its environment, and kills
// it in the middle of a draft.
func Kill(t *testing.T, env ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0]) //nolint:gosec // ourselves
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	must(t, err)
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	lines := bufio.NewScanner(stdout)
	for lines.Scan() && lines.Text() != victimSays {
	}
	if lines.Text() != victimSays {
		t.Errorf("the victim ended by itself: %v", lines.Err())
	}
	must(t, cmd.Process.Kill())
	_ = cmd.Wait() // says that it was killed
}

// AfterKill tests that nothing of a killed draft is left in the next one.
func AfterKill(t *testing.T, p pool.Pool, name string) {
	t.Helper()
	want := pattern(1, 1000)
	finished(t, p, name, want)
	wantContent(t, p, name, want)
}
