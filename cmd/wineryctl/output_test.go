// SPDX-License-Identifier: GPL-3.0-or-later

package main_test

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"winery/internal/httpapi/rpc"
	"winery/internal/httpapi/rpc/rpctest"
	"winery/test/expect"
	"winery/test/roletest"
)

// TestFullOutput runs every printing command with stdout on a full disk.
func TestFullOutput(t *testing.T) {
	var store rpctest.Store
	url := serve(t, &store, rpc.Options{})
	file := write(t, t.TempDir(), "file", "content")
	must(t, "--url", url, "put", file)
	files := roletest.Directory(t, "")
	pack(t, files, roletest.Objects(1, 10, 1000))
	s := newSite(t, files)
	s.must(t, "db", "init")
	for _, args := range [][]string{
		{"--help"}, {"put", "--help"}, {"--version"},
		{"--url", url, "put", file},
		{"--url", url, "get", idOf("content")},
		{"db", "init"}, {"db", "version"}, {"db", "upgrade"}, {"db", "upgrade", "--dry-run"},
		{"shards", "import"}, {"index", "rebuild", "--output", "json"},
		{"shards", "list"}, {"shards", "list", "--output", "json"}, {"shards", "stale"},
		{"shards", "release"}, {"shards", "quarantined"},
		{"verify"}, {"verify", "--output", "json"},
		{"objects", "clean-deleted"}, {"objects", "deletions"}, {"objects", "deletions", "--output", "json"},
	} {
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		expect.NoError(t, err)
		cmd := exec.CommandContext(t.Context(), binary, append([]string{"--config", s.config}, args...)...)
		var stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = full, &stderr
		_ = cmd.Run()
		expect.NoError(t, full.Close())
		if status := cmd.ProcessState.ExitCode(); status != 1 || strings.Count(stderr.String(), "no space left on device") != 1 {
			t.Errorf("%q: status %d, %q", args, status, &stderr)
		}
	}
}

// TestGetToFile replaces a file completely, or leaves the file unchanged.
func TestGetToFile(t *testing.T) {
	var store rpctest.Store
	url := serve(t, &store, rpc.Options{})
	small, large := "small", strings.Repeat("large", 1<<20)
	for _, content := range []string{small, large} {
		must(t, "--url", url, "put", write(t, t.TempDir(), "file", content))
	}
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatalf("a full disk needs root: %v", err)
	}
	t.Cleanup(func() { expect.NoError(t, unix.Unmount(dir, 0)) })
	file := write(t, dir, "file", "old")
	expect.NoError(t, os.Chmod(file, 0o640))
	link := filepath.Join(dir, "link")
	expect.NoError(t, os.Symlink("file", link))

	is := func(path, content string, mode fs.FileMode) {
		t.Helper()
		got, err := os.ReadFile(path)
		expect.NoError(t, err)
		info, err := os.Lstat(path)
		expect.NoError(t, err)
		names, err := os.ReadDir(dir)
		expect.NoError(t, err)
		if string(got) != content || info.Mode() != mode || len(names) > 3 {
			t.Errorf("%s is %q, %v, beside %v; want %q, %v", path, got, info.Mode(), names, content, mode)
		}
	}
	if _, stderr, status := ctl(t, "--url", url, "get", idOf(large), "-o", file); status != 1 || !strings.Contains(stderr, "no space left on device") {
		t.Errorf("on a full disk: status %d, %q", status, stderr)
	}
	is(file, "old", 0o640)
	must(t, "--url", url, "get", idOf(small), "-o", link)
	is(file, small, 0o640)
	is(link, small, fs.ModeSymlink|0o777)
	umask := syscall.Umask(0o027)
	must(t, "--url", url, "get", idOf(small), "-o", filepath.Join(dir, "new"))
	syscall.Umask(umask)
	is(filepath.Join(dir, "new"), small, 0o640)
	if got := must(t, "--url", url, "get", idOf(large), "-o", "/dev/stdout"); got != large {
		t.Errorf("/dev/stdout has %d bytes", len(got))
	}
	if _, stderr, status := ctl(t, "--url", url, "get", idOf(small), "-o", "/dev/full"); status != 1 || !strings.Contains(stderr, "no space left on device") {
		t.Errorf("a full device: status %d, %q", status, stderr)
	}
}
