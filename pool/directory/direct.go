// SPDX-License-Identifier: GPL-3.0-or-later

package directory

import (
	"errors"
	"io"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// alignment is what O_DIRECT asks of offsets, lengths and addresses: the largest
// block of a disk that is in use.
const alignment = 4096

// aligned holds buffers of 1 MiB at such addresses.
var aligned = sync.Pool{New: func() any {
	const size = 1 << 20
	b := make([]byte, size+alignment)
	skip := -uintptr(unsafe.Pointer(unsafe.SliceData(b))) % alignment //nolint:gosec // only the address is used
	b = b[skip:][:size]
	return &b
}}

// openDirect opens a file for reading from the disk, past the page cache. Its
// error is EINVAL where the file system does not have that.
func openDirect(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECT, 0) //nolint:gosec // below the pool's directory
	if err != nil {
		return nil, err
	}
	if _, err := readDirect(f, make([]byte, 1), 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// isAligned reports whether O_DIRECT takes a buffer for an offset as it is.
func isAligned(b []byte, off int64) bool {
	address := uintptr(unsafe.Pointer(unsafe.SliceData(b))) //nolint:gosec // only the address is used
	return len(b) > 0 && (address|uintptr(off)|uintptr(len(b)))%alignment == 0
}

// readDirect is ReadAt of a file that was opened by openDirect.
func readDirect(f *os.File, b []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, &os.PathError{Op: "read", Path: f.Name(), Err: unix.EINVAL}
	}
	for n < len(b) {
		got, err := readSome(int(f.Fd()), b[n:], off+int64(n))
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return n, &os.PathError{Op: "read", Path: f.Name(), Err: err}
		case got == 0:
			return n, io.EOF
		}
		n += got
	}
	return n, nil
}

// readSome reads by one call, into b where that is aligned. It returns 0 at the end of
// the file.
func readSome(fd int, b []byte, off int64) (int, error) {
	if whole := b[:len(b)/alignment*alignment]; isAligned(whole, off) {
		return unix.Pread(fd, whole, off)
	}
	buf := aligned.Get().(*[]byte)
	defer aligned.Put(buf)
	skip := off % alignment
	want := (skip + int64(len(b)) + alignment - 1) / alignment * alignment
	got, err := unix.Pread(fd, (*buf)[:min(want, int64(len(*buf)))], off-skip)
	if err != nil || int64(got) <= skip {
		return 0, err
	}
	return copy(b, (*buf)[skip:got]), nil
}
