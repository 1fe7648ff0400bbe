// SPDX-License-Identifier: GPL-3.0-or-later

package directory_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"winery/pool"
	"winery/pool/directory"
	"winery/pool/pooltest"
	"winery/test/corrupt"
	"winery/test/expect"
)

// TestOpenReadsTheDisk: what Open gives to verify, of an image or of a draft, and
// OpenMapped without the cache, comes from the disk even if all of it is in the kernel's
// memory.
func TestOpenReadsTheDisk(t *testing.T) {
	random := corrupt.Random(t)
	base := t.TempDir()
	p := newPool(t, base, true)
	for _, size := range []int{0, 1, 4095, 4096, 4097, 3<<20 + 17} {
		content := make([]byte, size)
		for i := range content {
			content[i] = byte(random.Uint32())
		}
		d, err := p.Create(t.Context(), "one", 0, pooltest.Anything{})
		expect.NoError(t, err)
		_, err = d.WriteAt(content, 0)
		expect.NoError(t, err)
		draft, err := d.Open(t.Context())
		expect.NoError(t, err)
		readsTheDisk(t, base, draft, content)
		expect.NoError(t, d.Commit(t.Context()))

		got, err := os.ReadFile(filepath.Join(base, "shards", "one"))
		if err != nil || !bytes.Equal(got, content) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		img, err := p.Open(t.Context(), "one")
		expect.NoError(t, err)
		for range 100 { // whatever the alignment
			from := random.IntN(size + 1)
			part := make([]byte, random.IntN(size-from+1))
			if n, err := img.ReadAt(part, int64(from)); n != len(part) || !bytes.Equal(part, content[from:][:n]) {
				t.Errorf("%d bytes at %d of %d: %d, %v", len(part), from, size, n, err)
			}
		}
		readsTheDisk(t, base, img, content)

		mapped, err := p.OpenMapped(pool.WithoutCache(t.Context()), "one")
		expect.NoError(t, err)
		readsTheDisk(t, base, mapped, content)
	}
}

// readsTheDisk reads all of an image and closes it.
func readsTheDisk(t *testing.T, base string, img pool.Image, content []byte) {
	t.Helper()
	flags := openFlags(t, base)
	if !slices.ContainsFunc(flags, func(flags int) bool { return flags&unix.O_DIRECT != 0 }) {
		t.Errorf("the files of the pool are open with flags %o, want O_DIRECT", flags)
	}
	before := readFromDisks(t)
	got, err := io.ReadAll(io.NewSectionReader(img, 0, img.Size()))
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes of %d, %v", len(got), len(content), err)
	}
	var fs unix.Statfs_t
	expect.NoError(t, unix.Statfs(base, &fs))
	if read := readFromDisks(t) - before; fs.Type != unix.TMPFS_MAGIC && read < int64(len(content)) {
		t.Errorf("of %d bytes %d came from the disk", len(content), read)
	}
	expect.NoError(t, img.Close())
}

// openFlags are those of this process's files in base, by descriptor.
func openFlags(t *testing.T, base string) (all []int) {
	t.Helper()
	for fd := range 1000 {
		path, err := os.Readlink(fmt.Sprint("/proc/self/fd/", fd))
		if err != nil || !strings.HasPrefix(path, base) {
			continue
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		expect.NoError(t, err)
		all = append(all, flags)
	}
	return all
}

// readFromDisks is how many bytes the kernel has read from disks for this process.
func readFromDisks(t *testing.T) (n int64) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/io")
	expect.NoError(t, err)
	_, text, _ = bytes.Cut(text, []byte("\nread_bytes: "))
	_, err = fmt.Sscan(string(text), &n)
	expect.NoError(t, err)
	return n
}

// TestNoDirectIO: a file system without O_DIRECT is reported once.
func TestNoDirectIO(t *testing.T) {
	base := mount(t, "ramfs", "")
	if base == "" {
		return
	}
	var told []error
	p, err := directory.New(directory.Settings{
		BaseDirectory: base, PoolName: "shards",
		NoDirectIO: func(err error) { told = append(told, err) },
	})
	expect.NoError(t, err)
	expect.NoError(t, p.Init(t.Context()))
	content := []byte("image")
	for range 2 {
		d, err := p.Create(t.Context(), "one", 0, pooltest.Anything{})
		expect.NoError(t, err)
		_, err = d.WriteAt(content, 0)
		expect.NoError(t, err)
		expect.NoError(t, d.Commit(t.Context()))
		img, err := p.Open(t.Context(), "one")
		expect.NoError(t, err)
		got := make([]byte, len(content))
		if _, err := img.ReadAt(got, 0); err != nil || !bytes.Equal(got, content) {
			t.Errorf("read %q, %v", got, err)
		}
		expect.NoError(t, img.Close())
	}
	if len(told) != 1 || !errors.Is(told[0], unix.EINVAL) {
		t.Errorf("told %v, want EINVAL once", told)
	}
}

// TestPatternsInPath: what is configured is never taken for a pattern.
func TestPatternsInPath(t *testing.T) {
	for _, name := range []string{"a[", "a[b]", "a*", "a?", `a\`} {
		base := filepath.Join(t.TempDir(), name)
		expect.NoError(t, os.Mkdir(base, 0o755))
		p := newPool(t, base, true)
		left, err := p.Create(t.Context(), "one", 0, pooltest.Anything{})
		expect.NoError(t, err)
		dead := files(t, base)[0]
		expect.NoError(t, left.Abort(t.Context()))
		expect.NoError(t, os.WriteFile(filepath.Join(base, "shards", dead), nil, 0o600))
		d, err := p.Create(t.Context(), "one", 0, pooltest.Anything{})
		expect.NoError(t, err)
		expect.NoError(t, d.Commit(t.Context()))
		if got := files(t, base); len(got) != 1 || got[0] != "one" {
			t.Errorf("in %s are %q, want the image alone", name, got)
		}
	}
}

// TestWritesPastThePageCache: whole blocks of a draft go to the disk, the rest by the
// page cache, and all of it is the image.
func TestWritesPastThePageCache(t *testing.T) {
	const block = 1 << 20
	random := corrupt.Random(t)
	base := t.TempDir()
	room, err := unix.Mmap(-1, 0, 3*block, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	expect.NoError(t, err)
	defer func() { expect.NoError(t, unix.Munmap(room)) }()
	for i := range room {
		room[i] = byte(random.Uint32())
	}
	content := slices.Concat(room[:block-512], room[block:2*block], room[:700])
	d, err := newPool(t, base, true).Create(t.Context(), "one", 0, pooltest.Anything{})
	expect.NoError(t, err)
	for _, part := range []struct {
		b  []byte
		at int64
	}{{room[block : 2*block], block - 512}, {room[:700], 2*block - 512}, {room[:block-512], 0}} {
		_, err := d.WriteAt(part.b, part.at)
		expect.NoError(t, err)
	}
	// The same block at a place that is aligned, beyond the rest.
	_, err = d.WriteAt(room[block:2*block], 4*block)
	expect.NoError(t, err)
	content = append(content, make([]byte, 4*block-len(content))...)
	content = append(content, room[block:2*block]...)

	var fs unix.Statfs_t
	expect.NoError(t, unix.Statfs(base, &fs))
	path := filepath.Join(base, "shards", files(t, base)[0])
	if n := inPageCache(t, path, 4*block, block); fs.Type != unix.TMPFS_MAGIC && n > 0 {
		t.Errorf("%d pages of a whole block are in the page cache", n)
	}
	img, err := d.Open(t.Context())
	expect.NoError(t, err)
	got := make([]byte, len(content))
	_, err = img.ReadAt(got, 0)
	expect.NoError(t, err)
	if !bytes.Equal(got, content) {
		t.Error("the draft differs from what was written")
	}
	expect.NoError(t, img.Close())
	expect.NoError(t, d.Commit(t.Context()))
	stored, err := os.ReadFile(filepath.Join(base, "shards", "one"))
	if err != nil || !bytes.Equal(stored, content) {
		t.Errorf("the image of %d bytes differs, %v", len(stored), err)
	}
}

// inPageCache counts the pages of a part of a file that are in the kernel's memory.
func inPageCache(t *testing.T, path string, at int64, size int) (n int) {
	t.Helper()
	f, err := os.Open(path)
	expect.NoError(t, err)
	defer f.Close()
	part, err := unix.Mmap(int(f.Fd()), at, size, unix.PROT_READ, unix.MAP_SHARED)
	expect.NoError(t, err)
	defer func() { expect.NoError(t, unix.Munmap(part)) }()
	resident := make([]byte, size/os.Getpagesize())
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&part[0])), uintptr(size), uintptr(unsafe.Pointer(&resident[0])))
	if errno != 0 {
		t.Fatal(errno)
	}
	for _, r := range resident {
		n += int(r & 1)
	}
	return n
}
