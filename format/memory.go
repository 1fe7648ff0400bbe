// SPDX-License-Identifier: GPL-3.0-or-later

package format

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Reallocate makes room for n values of a type without pointers, outside Go's heap,
// where it can grow without a second copy and goes back to the system at once. It
// begins with a page, so that blocks in it can be transferred by O_DIRECT. Room of nil is
// new; for n = 0 the room is freed. Never used pages take no memory.
func Reallocate[T any](room []T, n int) ([]T, error) {
	var zero T
	before, after := uintptr(cap(room))*unsafe.Sizeof(zero), uintptr(n)*unsafe.Sizeof(zero)
	at := unsafe.Pointer(unsafe.SliceData(room)) //nolint:gosec // the room came from here
	var err error
	switch {
	case after == 0 && before == 0:
		return nil, nil
	case after == 0:
		return nil, unix.MunmapPtr(at, before)
	case before == 0:
		at, err = unix.MmapPtr(-1, 0, nil, after, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	default:
		at, err = unix.MremapPtr(at, before, nil, after, unix.MREMAP_MAYMOVE)
	}
	if err != nil {
		return nil, fmt.Errorf("allocating %d bytes: %w", after, err)
	}
	return unsafe.Slice((*T)(at), n), nil //nolint:gosec // the kernel gave as much
}
