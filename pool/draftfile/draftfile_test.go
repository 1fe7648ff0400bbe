// SPDX-License-Identifier: GPL-3.0-or-later

package draftfile

import (
	"errors"
	"io/fs"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"winery/pool/pooltest"
	"winery/test/expect"
)

func useFlock(t *testing.T, call func(fd, how int) error) {
	t.Helper()
	flock = call
	t.Cleanup(func() { flock = unix.Flock })
}

// TestRemoveDeadOnNFS: on NFS 4, too, dead drafts go, also those whose writer died after
// it had made them read-only; live ones stay.
func TestRemoveDeadOnNFS(t *testing.T) {
	useFlock(t, pooltest.FlockOnNFS)
	folder := t.TempDir()
	for _, mode := range []fs.FileMode{0o600, 0o400} {
		dead, err := Create(folder, "dead", 0o600)
		expect.NoError(t, err)
		expect.NoError(t, errors.Join(dead.Chmod(mode), dead.Close()))
	}
	alive, err := Create(folder, "alive", 0o600)
	expect.NoError(t, err)
	expect.NoError(t, alive.Chmod(0o400))
	expect.NoError(t, RemoveDead(folder))
	if got := pooltest.Files(t, folder); len(got) != 1 || got[0] != filepath.Base(alive.Name()) {
		t.Errorf("left are %q, want the live draft alone", got)
	}
	expect.NoError(t, Remove(alive))
}

// TestRemoveDeadFails: a draft that cannot be locked at all is not taken for a live one.
func TestRemoveDeadFails(t *testing.T) {
	folder := t.TempDir()
	draft, err := Create(folder, "one", 0o600)
	expect.NoError(t, err)
	expect.NoError(t, draft.Close())
	useFlock(t, func(int, int) error { return unix.ENOLCK })
	if err := RemoveDead(folder); !errors.Is(err, unix.ENOLCK) {
		t.Errorf("got %v, want ENOLCK", err)
	}
	useFlock(t, func(int, int) error { return unix.ESTALE }) // as where another host has just removed it
	expect.NoError(t, RemoveDead(folder))
	if got := pooltest.Files(t, folder); len(got) != 1 {
		t.Errorf("left are %q, want the draft", got)
	}
}
