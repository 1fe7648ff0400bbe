// SPDX-License-Identifier: GPL-3.0-or-later

package directory_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"winery/pool"
	"winery/pool/pooltest"
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
		wantNoAccess(t, p, "is not allowed to write to "+folder, "chown")
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
		if refused, ok := errors.AsType[*pool.AccessError](err); !ok || !strings.Contains(refused.What, "user 0 is not allowed to read "+base) ||
			!strings.Contains(refused.Cure, "root_squash") || strings.Contains(refused.Cure, "chown") {
			t.Errorf("got %v, want the cure for root_squash", err)
		}
	}
}

// rolesUser is the user, and the group, to which a pool's folder belongs where the tests run
// as root.
const rolesUser = 65534

// TestFilesOfRoot: what root makes, as wineryctl does and the mapper, belongs to the user of
// the roles, who must read and replace it.
func TestFilesOfRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		return // no other user's files are given away
	}
	base := t.TempDir()
	p := newPool(t, base, true)
	expect.NoError(t, os.Chown(filepath.Join(base, p.Name()), rolesUser, rolesUser))
	expect.NoError(t, p.Reserve(t.Context(), "reserved"))
	draft, err := p.Create(t.Context(), "made", 0, pooltest.Anything{})
	expect.NoError(t, err)
	owned := func(name string) {
		t.Helper()
		info, err := os.Stat(filepath.Join(base, p.Name(), name))
		expect.NoError(t, err)
		if owner := info.Sys().(*syscall.Stat_t); owner.Uid != rolesUser || owner.Gid != rolesUser {
			t.Errorf("%s belongs to user %d and group %d, want %d", name, owner.Uid, owner.Gid, rolesUser)
		}
	}
	for _, name := range files(t, base) { // the draft, too
		owned(name)
	}
	expect.NoError(t, draft.Commit(t.Context()))
	owned("made")
}

// TestReserveWithoutChown: the unit of the mapper has no CAP_CHOWN. A reserved file of root
// would be in the packers' way.
func TestReserveWithoutChown(t *testing.T) {
	if os.Geteuid() != 0 {
		return // no other user's files are given away
	}
	base := t.TempDir()
	p := newPool(t, base, true)
	expect.NoError(t, os.Chown(filepath.Join(base, p.Name()), rolesUser, rolesUser))
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var all [2]unix.CapUserData
	expect.NoError(t, unix.Capget(&header, &all[0]))
	without := all
	without[0].Effective &^= 1 << unix.CAP_CHOWN
	expect.NoError(t, unix.Capset(&header, &without[0])) // of this thread alone
	defer func() { expect.NoError(t, unix.Capset(&header, &all[0])) }()
	expect.NoError(t, p.Reserve(t.Context(), "reserved"))
	if left := files(t, base); len(left) != 0 {
		t.Errorf("left are %q", left)
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
