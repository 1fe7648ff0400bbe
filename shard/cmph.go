// SPDX-License-Identifier: GPL-3.0-or-later

package shard

/*
#cgo LDFLAGS: -lcmph
#include <stdio.h>
#include <stdlib.h>
#include <cmph.h>

// build makes a CHD_PH function over the keys at the start of each entry and
// returns its dump, which the caller frees, or NULL.
static char *build(void *entries, unsigned int entry_size, unsigned int key_size, unsigned int count, size_t *size) {
	char *dump = NULL;
	cmph_io_adapter_t *keys = cmph_io_struct_vector_adapter(entries, entry_size, 0, key_size, count);
	cmph_config_t *config = cmph_config_new(keys);
	cmph_config_set_algo(config, CMPH_CHD_PH);
	cmph_config_set_graphsize(config, 0.99);
	cmph_config_set_keys_per_bin(config, 1);
	cmph_config_set_b(config, 4);
	cmph_t *hash = cmph_new(config);
	cmph_config_destroy(config);
	cmph_io_struct_vector_adapter_destroy(keys);
	if (hash == NULL)
		return NULL;
	FILE *out = open_memstream(&dump, size);
	if (out != NULL) {
		cmph_dump(hash, out);
		int failed = ferror(out);
		if (fclose(out) != 0 || failed) {
			free(dump);
			dump = NULL;
		}
	}
	cmph_destroy(hash);
	return dump;
}
*/
import "C"

import (
	"bytes"
	"unsafe"
)

// buildHash returns the dump of a function over the entries' keys, or nil where
// libcmph finds none. Equal keys keep it busy for very long, and no keys for
// ever. Meanwhile it takes about 24 bytes a key.
func buildHash(entries []entry) []byte {
	var size C.size_t
	dump := C.build(unsafe.Pointer(&entries[0]), entrySize, keySize, C.uint(len(entries)), &size)
	if dump == nil {
		return nil
	}
	defer C.free(unsafe.Pointer(dump))
	return bytes.Clone(unsafe.Slice((*byte)(unsafe.Pointer(dump)), size))
}
