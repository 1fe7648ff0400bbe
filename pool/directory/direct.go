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

// readDirect is ReadAt of a file that was opened by openDirect.
func readDirect(f *os.File, b []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, &os.PathError{Op: "read", Path: f.Name(), Err: unix.EINVAL}
	}
	buf := aligned.Get().(*[]byte)
	defer aligned.Put(buf)
	for n < len(b) {
		at := off + int64(n)
		skip := at % alignment
		want := (skip + int64(len(b)-n) + alignment - 1) / alignment * alignment
		got, err := unix.Pread(int(f.Fd()), (*buf)[:min(want, int64(len(*buf)))], at-skip)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return n, &os.PathError{Op: "read", Path: f.Name(), Err: err}
		case int64(got) <= skip:
			return n, io.EOF
		}
		n += copy(b[n:], (*buf)[skip:got])
	}
	return n, nil
}
