// SPDX-License-Identifier: GPL-3.0-or-later

package directory_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"winery/pool"
	"winery/pool/directory"
	"winery/pool/pooltest"
	"winery/test/expect"
)

// victimBase asks the test binary to write a draft in this directory and wait.
const victimBase = "POOL_TEST_VICTIM"

// ownMount asks it to run a test in a namespace of its own, with a file system
// mounted there.
const ownMount = "POOL_TEST_MOUNT"

func TestMain(m *testing.M) {
	if base := os.Getenv(victimBase); base != "" {
		p, err := directory.New(directory.Settings{BaseDirectory: base, PoolName: "shards", UsePermissions: true})
		if err == nil {
			err = pooltest.BeVictim(p, "one")
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

func TestConformance(t *testing.T) {
	for name, modes := range map[string]bool{"Permissions": true, "NoPermissions": false} {
		t.Run(name, func(t *testing.T) {
			pooltest.Run(t, func(t *testing.T) pool.Pool { return newPool(t, t.TempDir(), modes) })
		})
	}
}

// TestUnprivileged runs the conformance tests again as an unprivileged user,
// because root can ignore file modes.
func TestUnprivileged(t *testing.T) {
	if os.Geteuid() != 0 {
		return // the other tests were that run
	}
	dir, err := os.MkdirTemp("", "winery")
	expect.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	const nobody = 65534
	expect.NoError(t, os.Chown(dir, nobody, nobody))
	self, err := os.ReadFile(os.Args[0])
	expect.NoError(t, err)
	binary := filepath.Join(dir, "test")
	expect.NoError(t, os.WriteFile(binary, self, 0o755))

	others := filepath.Join(dir, "others")
	expect.NoError(t, os.MkdirAll(filepath.Join(others, "shards"), 0o755))
	place(t, others, "by-rsync", 0o644)
	place(t, others, "unmapped", 0)
	place(t, others, "private", 0o400)
	place(t, others, "leftover", 0o644)
	expect.NoError(t, os.Chown(filepath.Join(others, "shards"), nobody, nobody))

	cmd := exec.CommandContext(t.Context(), binary, "-test.run=TestConformance|TestMode|TestKilled")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TMPDIR="+dir, "HOME="+dir, anotherUsers+"="+others)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("as an ordinary user: %v\n%s", err, out)
	}
}

func TestKilledWriter(t *testing.T) {
	base := t.TempDir()
	p := newPool(t, base, true)
	pooltest.Kill(t, victimBase+"="+base)
	if len(files(t, base)) != 1 {
		t.Fatalf("the killed writer left %q, want its draft", files(t, base))
	}
	pooltest.AfterKill(t, p, "one")
	if got := files(t, base); len(got) != 1 || got[0] != "one" {
		t.Errorf("left are %q, want the image alone", got)
	}
}

// TestStoppedWriter: a writer that continues after its successor has finished
// finds the name taken.
func TestStoppedWriter(t *testing.T) {
	base := t.TempDir()
	p := newPool(t, base, true)
	goOn := pooltest.Stop(t, victimBase+"="+base)
	pooltest.AfterKill(t, p, "one")
	if said := goOn(); !strings.Contains(said, pool.ErrExists.Error()) {
		t.Errorf("the stopped writer went on and said %q, want ErrExists", said)
	}
	pooltest.StillThere(t, p, "one")
}

// TestSweep: Create removes dead drafts of all images, and nothing else.
func TestSweep(t *testing.T) {
	base := t.TempDir()
	p := newPool(t, base, true)
	pooltest.Kill(t, victimBase+"="+base)
	dead := files(t, base)
	if len(dead) != 1 {
		t.Fatalf("the killed writer left %q, want its draft", dead)
	}
	others := []string{"notes.tmp", "one.notes.tmp", "-one" + strings.TrimPrefix(dead[0], "one")}
	for _, name := range others {
		expect.NoError(t, os.WriteFile(filepath.Join(base, "shards", name), nil, 0o600))
	}
	first, err := p.Create(t.Context(), "two", 0, pooltest.Anything{})
	expect.NoError(t, err)
	second, err := newPool(t, base, true).Create(t.Context(), "two", 0, pooltest.Anything{})
	expect.NoError(t, err)
	got := files(t, base)
	drafts := slices.DeleteFunc(slices.Clone(got), func(name string) bool { return !strings.HasPrefix(name, "two.") })
	if len(drafts) != 2 || len(got) != len(others)+2 || slices.Contains(got, dead[0]) {
		t.Errorf("there are %q, want two drafts of two and %q", got, others)
	}
	expect.NoError(t, second.Abort(t.Context()))
	expect.NoError(t, first.Commit(t.Context()))
}

// TestLateCommit: a packer that lost its claim, and whose image was replaced,
// must not replace the new one.
func TestLateCommit(t *testing.T) {
	p := newPool(t, t.TempDir(), true)
	for _, name := range []string{"one", "two"} {
		if name == "two" {
			expect.NoError(t, p.Reserve(t.Context(), name)) // a leftover at the late packer's Create
		}
		late, err := p.Create(t.Context(), name, 0, pooltest.Anything{})
		expect.NoError(t, err)
		pooltest.AfterKill(t, p, name)
		if err := late.Commit(t.Context()); !errors.Is(err, pool.ErrExists) {
			t.Errorf("%s: late commit: got %v, want ErrExists", name, err)
		}
		expect.NoError(t, late.Abort(t.Context()))
	}
}

func TestModes(t *testing.T) {
	base := t.TempDir()
	p := newPool(t, base, true)
	step := func(what string, want fs.FileMode, do func() error) {
		t.Helper()
		expect.NoError(t, do())
		info, err := os.Stat(filepath.Join(base, "shards", "one"))
		expect.NoError(t, err)
		if info.Mode() != want {
			t.Errorf("after %s the mode is %v, want %v", what, info.Mode(), want)
		}
	}
	edit := func() error {
		e, err := p.Edit(t.Context(), "one", pooltest.Anything{})
		if err != nil {
			return err
		}
		return e.Close()
	}
	step("Reserve", 0o600, func() error { return p.Reserve(t.Context(), "one") })
	if _, err := p.OpenMapped(t.Context(), "one"); !errors.Is(err, pool.ErrNotMapped) {
		t.Errorf("OpenMapped of a writable file: got %v, want ErrNotMapped", err)
	}
	step("Map of what Python packed", 0o400, func() error { return p.Map(t.Context(), "one") })
	step("Edit", 0o400, edit)
	step("Unmap", 0o000, func() error { return p.Unmap(t.Context(), "one") })
	step("Map", 0o400, func() error { return p.Map(t.Context(), "one") })
	pooltest.AfterKill(t, p, "one")
	step("Commit", 0o400, func() error { return nil })
}

// TestReplacedMeanwhile: a file that was replaced after Edit or Remove opened it, and
// before they locked it, is neither edited nor removed. A lease on the file keeps them
// in open(2), where they have found the file and do not have it yet.
func TestReplacedMeanwhile(t *testing.T) {
	base := t.TempDir()
	p := newPool(t, base, false)
	for what, call := range map[string]func() error{
		"Edit": func() error {
			e, err := p.Edit(t.Context(), "one", pooltest.Anything{})
			if err == nil {
				err = e.Close()
			}
			return err
		},
		"Remove": func() error { return p.Remove(t.Context(), "one", pooltest.Anything{}) },
	} {
		pooltest.AfterKill(t, p, "one")
		path := filepath.Join(base, "shards", "one")
		leased, err := os.Open(path)
		expect.NoError(t, err)
		lease := func(cmd, kind int) int {
			got, err := unix.FcntlInt(leased.Fd(), cmd, kind)
			expect.NoError(t, err)
			return got
		}
		lease(unix.F_SETLEASE, unix.F_RDLCK)
		called := make(chan error)
		go func() { called <- call() }()
		expect.Eventually(t, what+" to open the file", func() bool { return lease(unix.F_GETLEASE, 0) == unix.F_UNLCK })
		expect.NoError(t, os.Remove(path))
		pooltest.AfterKill(t, p, "one")
		expect.NoError(t, leased.Close()) // ends the lease
		if err := <-called; !errors.Is(err, pool.ErrInUse) {
			t.Errorf("%s: %v, want ErrInUse", what, err)
		}
		pooltest.StillThere(t, p, "one")
	}
}

// TestReservedMeanwhile: the mapper may reserve the image of a shard that is
// being packed, for a packer that creates none. That disturbs no process.
func TestReservedMeanwhile(t *testing.T) {
	p := newPool(t, t.TempDir(), true)
	d, err := p.Create(t.Context(), "one", 0, pooltest.Anything{})
	expect.NoError(t, err)
	expect.NoError(t, p.Reserve(t.Context(), "one"))
	_, err = d.WriteAt([]byte("image"), 0)
	expect.NoError(t, err)
	expect.NoError(t, d.Commit(t.Context()))
	img, err := p.Open(t.Context(), "one")
	expect.NoError(t, err)
	defer img.Close()
	if img.Size() != 5 {
		t.Errorf("%d bytes, want 5", img.Size())
	}
}

// TestFull fills a disk of 1 MiB.
func TestFull(t *testing.T) {
	base := mount(t, "tmpfs", "size=1m")
	if base == "" {
		return
	}
	p := newPool(t, base, true)
	d, err := p.Create(t.Context(), "one", 0, pooltest.Anything{})
	expect.NoError(t, err)
	if _, err := d.WriteAt(make([]byte, 2<<20), 0); !errors.Is(err, pool.ErrFull) {
		t.Errorf("2 MiB on a disk of 1 MiB: got %v, want ErrFull", err)
	}
	expect.NoError(t, d.Abort(t.Context()))
	pooltest.AfterKill(t, p, "one")
}

// mount runs the test once more in a mount namespace of its own, and there returns
// where it mounted a file system, and otherwise "".
func mount(t *testing.T, fileSystem, options string) (base string) {
	t.Helper()
	if base := os.Getenv(ownMount); base != "" {
		expect.NoError(t, unix.Mount("none", base, fileSystem, 0, options))
		return base
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), ownMount+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 { // an unprivileged user can mount as root of a namespace
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("on a file system %s: %v\n%s", fileSystem, err, out)
	}
	return ""
}

// TestOpeningMakesNothing: below a mount point, on the root disk, no daemon makes
// the folder of a pool.
func TestOpeningMakesNothing(t *testing.T) {
	base := t.TempDir()
	p, err := directory.New(directory.Settings{BaseDirectory: base, PoolName: "shards", UsePermissions: true})
	expect.NoError(t, err)
	_, err = p.Create(t.Context(), "one", 0, pooltest.Anything{})
	wantNoPool(t, "Create", err)
	wantNoPool(t, "Reserve", p.Reserve(t.Context(), "one"))
	wantNoPool(t, "SetMarker", p.SetMarker(t.Context(), []byte("x"), false))
	_, err = p.Marker(t.Context())
	wantNoPool(t, "Marker", err)
	_, err = p.List(t.Context())
	wantNoPool(t, "List", err)
	if entries, err := os.ReadDir(base); err != nil || len(entries) != 0 {
		t.Errorf("base_directory has %v, %v", entries, err)
	}
}

func wantNoPool(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, pool.ErrNoPool) {
		t.Errorf("%s: got %v, want ErrNoPool", what, err)
	}
}

// TestInit: the new folder belongs to the owner of base_directory, whatever user
// creates it, and others may list it.
func TestInit(t *testing.T) {
	base, want := t.TempDir(), os.Geteuid()
	if want == 0 {
		want = 65534 // nobody
		expect.NoError(t, os.Chown(base, want, want))
	}
	defer syscall.Umask(syscall.Umask(0o077))
	p := newPool(t, base, true)
	expect.NoError(t, p.SetMarker(t.Context(), []byte("x"), false))
	expect.NoError(t, filepath.WalkDir(filepath.Join(base, "shards"), func(path string, d fs.DirEntry, err error) error {
		expect.NoError(t, err)
		info, err := d.Info()
		expect.NoError(t, err)
		owner := info.Sys().(*syscall.Stat_t)
		if int(owner.Uid) != want || info.Mode().Perm()&0o044 != 0o044 {
			t.Errorf("%s: mode %v, owner %d", path, info.Mode(), owner.Uid)
		}
		return nil
	}))
	_, err := os.Stat(filepath.Join(base, "shards", ".winery", "marker"))
	expect.NoError(t, err)
	missing, err := directory.New(directory.Settings{BaseDirectory: filepath.Join(base, "absent"), PoolName: "shards"})
	expect.NoError(t, err)
	if err := missing.Init(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without base_directory: %v", err)
	}
}

func newPool(t *testing.T, base string, modes bool) *directory.Pool {
	t.Helper()
	p, err := directory.New(directory.Settings{BaseDirectory: base, PoolName: "shards", UsePermissions: modes})
	expect.NoError(t, err)
	expect.NoError(t, p.Init(t.Context()))
	t.Cleanup(func() { expect.NoError(t, p.Close()) })
	return p
}

func files(t *testing.T, base string) []string {
	t.Helper()
	return pooltest.Files(t, filepath.Join(base, "shards"))
}
