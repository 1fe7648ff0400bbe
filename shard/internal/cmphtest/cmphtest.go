// SPDX-License-Identifier: GPL-3.0-or-later

// Package cmphtest evaluates hash functions by libcmph itself, for tests that
// compare it with what package shard makes of the same dump. A damaged dump
// makes libcmph crash.
package cmphtest

/*
#cgo LDFLAGS: -lcmph
#include <stdio.h>
#include <stdlib.h>
#include <cmph.h>

static cmph_t *load(void *dump, size_t size) {
	FILE *in = fmemopen(dump, size, "r");
	if (in == NULL)
		return NULL;
	cmph_t *hash = cmph_load(in);
	fclose(in);
	return hash;
}
*/
import "C"

import (
	"errors"
	"unsafe"
)

// Slots returns the slot that libcmph gives each key.
func Slots(dump []byte, keys [][32]byte) ([]int64, error) {
	in := C.CBytes(dump)
	defer C.free(in)
	hash := C.load(in, C.size_t(len(dump)))
	if hash == nil {
		return nil, errors.New("libcmph does not load the dump")
	}
	defer C.cmph_destroy(hash)
	slots := make([]int64, len(keys))
	for i := range keys {
		slots[i] = int64(C.cmph_search(hash, (*C.char)(unsafe.Pointer(&keys[i][0])), C.cmph_uint32(len(keys[i]))))
	}
	return slots, nil
}
