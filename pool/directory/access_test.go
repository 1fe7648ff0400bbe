// SPDX-License-Identifier: GPL-3.0-or-later

package directory_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"winery/pool"
	"winery/test/expect"
)

// wantNoAccess fails unless p can be read, and not written, with that reason and cure.
func wantNoAccess(t *testing.T, p pool.Pool, what, cure string) {
	t.Helper()
	expect.NoError(t, p.CheckAccess(t.Context(), false))
	err := p.CheckAccess(t.Context(), true)
	if refused, ok := errors.AsType[*pool.AccessError](err); !ok || !strings.Contains(refused.What, what) || !strings.Contains(refused.Cure, cure) {
		t.Errorf("got %v, want %q, cure %q", err, what, cure)
	}
}

// TestModeOfFolder is run by TestUnprivileged, too: no mode stops root.
func TestModeOfFolder(t *testing.T) {
	base := t.TempDir()
	p := newPool(t, base, true)
	folder := filepath.Join(base, p.Name())
	expect.NoError(t, os.Chmod(folder, 0o555))
	if os.Geteuid() == 0 {
		expect.NoError(t, p.CheckAccess(t.Context(), true))
	} else {
		wantNoAccess(t, p, "must not write to "+folder, "chown")
	}
	expect.NoError(t, os.Chmod(folder, 0o755))
	expect.NoError(t, os.Remove(folder))
	wantNoPool(t, "CheckAccess", p.CheckAccess(t.Context(), false))
}

func TestReadOnlyFileSystem(t *testing.T) {
	base := mount(t, "tmpfs", "size=1m")
	if base == "" {
		return
	}
	p := newPool(t, base, true)
	expect.NoError(t, unix.Mount("", base, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	wantNoAccess(t, p, "is read-only", "read-write")
}
