// SPDX-License-Identifier: GPL-3.0-or-later

package directory_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
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

// TestSquashedRoot: an NFS server with root_squash gives root no rights.
func TestSquashedRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		return // root_squash is about root only
	}
	base := t.TempDir()
	p := newPool(t, base, true)
	expect.NoError(t, p.SetMarker(t.Context(), []byte("marker"), false))
	expect.NoError(t, os.Chmod(base, 0o750))
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	expect.NoError(t, unix.Setfsuid(65534)) // of this thread alone; with it go the capabilities
	defer func() { expect.NoError(t, unix.Setfsuid(0)) }()

	check := p.CheckAccess(t.Context(), false)
	_, marker := p.Marker(t.Context())
	for _, err := range []error{check, marker} {
		if refused, ok := errors.AsType[*pool.AccessError](err); !ok || !strings.Contains(refused.What, "user 0 must not read "+base) ||
			!strings.Contains(refused.Cure, "root_squash") || strings.Contains(refused.Cure, "chown") {
			t.Errorf("got %v, want the cure for root_squash", err)
		}
	}
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
