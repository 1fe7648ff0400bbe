// SPDX-License-Identifier: GPL-3.0-or-later

package directory_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"winery/pool"
	"winery/pool/directory"
	"winery/pool/pooltest"
	"winery/test/expect"
)

// place makes a file of a pool below base. Its content is its name.
func place(t *testing.T, base, name string, mode fs.FileMode) (path string) {
	t.Helper()
	path = filepath.Join(base, "shards", name)
	expect.NoError(t, os.WriteFile(path, []byte(name), 0o600))
	expect.NoError(t, os.Chmod(path, mode))
	return path
}

// wantReadable fails the test unless an image is listed as mapped and read
// through its mapping, or neither.
func wantReadable(t *testing.T, p *directory.Pool, name string, want bool) {
	t.Helper()
	mapped, err := p.Mapped(t.Context())
	expect.NoError(t, err)
	if mapped[name] != want {
		t.Errorf("image %s is listed as mapped: %v, want %v", name, mapped[name], want)
	}
	img, err := p.OpenMapped(t.Context(), name)
	if !want {
		if !errors.Is(err, pool.ErrNotMapped) {
			t.Errorf("image %s: OpenMapped: %v, want ErrNotMapped", name, err)
		}
		return
	}
	if err != nil {
		t.Errorf("image %s: %v", name, err)
		return
	}
	defer img.Close()
	if content, err := io.ReadAll(io.NewSectionReader(img, 0, img.Size())); err != nil || string(content) != name {
		t.Errorf("image %s has %q, %v", name, content, err)
	}
}

// TestReadOnlyMount: as in Python, a readable file on a read-only mount counts as
// mapped, whatever its mode is.
func TestReadOnlyMount(t *testing.T) {
	base := mount(t, "tmpfs", "size=1m")
	if base == "" {
		return
	}
	p := newPool(t, base, true)
	modes := map[string]fs.FileMode{"by-rsync": 0o644, "by-python": 0o600, "finished": 0o400, "for-all": 0o444}
	for name, mode := range modes {
		place(t, base, name, mode)
	}
	place(t, base, "unmapped", 0)
	wantReadable(t, p, "by-rsync", false) // until it is mapped
	expect.NoError(t, unix.Mount("none", base, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))

	for name := range modes {
		wantReadable(t, p, name, true)
		expect.NoError(t, p.Map(t.Context(), name))
	}
	wantReadable(t, p, "unmapped", false)
	if err := p.Map(t.Context(), "unmapped"); !errors.Is(err, unix.EROFS) || !strings.Contains(err.Error(), "chmod 0400") {
		t.Errorf("mapping what cannot be mapped here: %v", err)
	}
}

// TestModePrivate: an image that only another user may read is not mapped for this process,
// which can tell why. TestUnprivileged runs it.
func TestModePrivate(t *testing.T) {
	base := os.Getenv(anotherUsers)
	if base == "" {
		return
	}
	for _, ctx := range []context.Context{t.Context(), pool.WithoutCache(t.Context())} {
		img, err := newPool(t, base, true).OpenMapped(ctx, "private")
		if !errors.Is(err, pool.ErrNotMapped) || !errors.Is(err, fs.ErrPermission) {
			t.Errorf("opening another user's image: %v, %v; want ErrNotMapped with the reason", img, err)
		}
	}
}

// anotherUsers is a directory whose files belong to another user than this
// process.
const anotherUsers = "POOL_TEST_ANOTHER_USERS"

// TestModeOfAnotherUser: a file that another user may write and this process can
// only read is mapped. TestUnprivileged runs the part that matters.
func TestModeOfAnotherUser(t *testing.T) {
	base := os.Getenv(anotherUsers)
	if base == "" {
		return
	}
	p := newPool(t, base, true)
	expect.NoError(t, p.Map(t.Context(), "by-rsync"))
	wantReadable(t, p, "by-rsync", true)
	if err := p.Map(t.Context(), "unmapped"); !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "chmod 0400") {
		t.Errorf("mapping what cannot be mapped here: %v", err)
	}
}

// TestMapKeepsReaders: mapping removes the right to write, not the right of other
// users to read.
func TestMapKeepsReaders(t *testing.T) {
	base := t.TempDir()
	p := newPool(t, base, true)
	for before, after := range map[fs.FileMode]fs.FileMode{0o600: 0o400, 0o640: 0o440, 0o644: 0o444, 0o444: 0o444, 0: 0o400} {
		path := place(t, base, "image", before)
		expect.NoError(t, p.Map(t.Context(), "image"))
		info, err := os.Stat(path)
		expect.NoError(t, err)
		if info.Mode() != after {
			t.Errorf("mapped, a file of mode %v has mode %v, want %v", before, info.Mode(), after)
		}
		wantReadable(t, p, "image", true)
		expect.NoError(t, os.Remove(path))
	}
}

// TestSymbolicLinks: every call follows a link to a file, as Python does, and
// none takes anything else for an image.
func TestSymbolicLinks(t *testing.T) {
	base, elsewhere := t.TempDir(), t.TempDir()
	p := newPool(t, base, true)
	place(t, base, "plain", 0o400)
	target := filepath.Join(elsewhere, "target")
	expect.NoError(t, os.WriteFile(target, []byte("linked"), 0o600))
	link := func(to, name string) { expect.NoError(t, os.Symlink(to, filepath.Join(base, "shards", name))) }
	link(target, "linked")
	link(filepath.Join(elsewhere, "nothing"), "dangling")
	link(elsewhere, "to-a-directory")
	expect.NoError(t, os.Mkdir(filepath.Join(base, "shards", "directory"), 0o700))

	list, err := p.List(t.Context())
	expect.NoError(t, err)
	if !slices.Equal(list, []string{"linked", "plain"}) {
		t.Errorf("the pool lists %q", list)
	}
	wantReadable(t, p, "linked", false)
	expect.NoError(t, p.Map(t.Context(), "linked"))
	wantReadable(t, p, "linked", true)
	for _, name := range []string{"dangling", "to-a-directory", "directory"} {
		wantReadable(t, p, name, false)
		for what, err := range map[string]error{
			"Open": openAndClose(p.Open(t.Context(), name)), "Map": p.Map(t.Context(), name),
		} {
			if !errors.Is(err, pool.ErrNotFound) {
				t.Errorf("%s of %s: %v, want ErrNotFound", what, name, err)
			}
		}
	}
	expect.NoError(t, openAndClose(p.Open(t.Context(), "linked")))
	e, err := p.Edit(t.Context(), "linked", pooltest.Anything{})
	expect.NoError(t, err)
	_, err = e.WriteAt([]byte("LINKED"), 0)
	expect.NoError(t, errors.Join(err, e.Flush(), e.Close()))
	content, err := os.ReadFile(target)
	expect.NoError(t, err)
	if string(content) != "LINKED" {
		t.Errorf("the target has %q", content)
	}
	expect.NoError(t, p.Remove(t.Context(), "linked", pooltest.Anything{}))
	if _, err := os.Stat(target); err != nil {
		t.Errorf("the target went with the link: %v", err)
	}
}

// TestUnreachableFile: a file that the file system cannot reach is not mapped, and keeps
// no other image from being listed.
func TestUnreachableFile(t *testing.T) {
	base := t.TempDir()
	p := newPool(t, base, true)
	for _, name := range []string{"before", "unreachable", "then"} {
		place(t, base, name, 0o400)
	}
	directory.UseStat(t, func(path string) (fs.FileInfo, error) {
		if filepath.Base(path) == "unreachable" {
			return nil, &fs.PathError{Op: "stat", Path: path, Err: unix.EIO}
		}
		return os.Stat(path)
	})
	mapped, err := p.Mapped(t.Context())
	if want := map[string]bool{"before": true, "then": true}; err != nil || !maps.Equal(mapped, want) {
		t.Errorf("mapped are %v, %v; want %v", mapped, err, want)
	}
	if err := p.Map(t.Context(), "unreachable"); !errors.Is(err, unix.EIO) || !strings.Contains(err.Error(), "unreachable") {
		t.Errorf("mapping it: %v", err)
	}
}

func openAndClose(img pool.Image, err error) error {
	if err != nil {
		return err
	}
	return img.Close()
}
