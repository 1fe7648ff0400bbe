// SPDX-License-Identifier: GPL-3.0-or-later

package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestQuickStart runs the first block of README's quick start as it is written,
// with another TMPDIR.
func TestQuickStart(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(readme), "\n## Quick start\n")
	_, block, _ := strings.Cut(section, "\n```\n")
	script, _, ended := strings.Cut(block, "\n```\n")
	if !ended {
		t.Fatal("README.md has no block in a section Quick start")
	}
	// Not t.TempDir: PostgreSQL's user must be able to enter it.
	dir, err := os.MkdirTemp("", "readme")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })

	cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // the writer, if the script ended before
	if left, _ := filepath.Glob(dir + "/*"); err != nil || len(left) > 0 {
		if down, err := exec.Command("../../scripts/pg-down", dir+"/winery/pg").CombinedOutput(); err != nil {
			t.Logf("pg-down: %v: %s", err, down)
		}
		t.Fatalf("%v, left %q, printed:\n%s", err, left, &out)
	}
	if !strings.Contains(out.String(), "  packed  shards  ") {
		t.Errorf("the shard was not packed:\n%s", &out)
	}
}
