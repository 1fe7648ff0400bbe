// SPDX-License-Identifier: GPL-3.0-or-later

package rpc

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // clients ask for it to be compared; nothing rests on it
	"crypto/sha256"
	"fmt"
	"hash"
	"net/http"

	"golang.org/x/crypto/blake2s"

	"winery/internal/httpapi"
	"winery/internal/httpapi/rpc/wire"
)

// checkHashes compares an object's content with each hash in its id.
func checkHashes(content []byte, id wire.ObjID) error {
	for _, want := range id {
		sum, err := newHash(want.Name, len(content))
		if err != nil {
			return err
		}
		_, _ = sum.Write(content)
		if got := sum.Sum(nil); !bytes.Equal(got, want.Sum) {
			return &httpapi.RequestError{Status: http.StatusBadRequest, Type: wire.TypeCorrupted, Text: fmt.Sprintf(
				"object corrupted: %s: expected %s hash is %x, data %s hash is %x", id, want.Name, want.Sum, want.Name, got)}
		}
	}
	return nil
}

// newHash begins the hash that clients call name, of content of that size.
func newHash(name string, size int) (hash.Hash, error) {
	switch name {
	case "sha256":
		return sha256.New(), nil
	case "sha1":
		return sha1.New(), nil //nolint:gosec // clients ask for it; objects are named by SHA-256
	case "sha1_git": // of a git blob
		sum := sha1.New() //nolint:gosec // the same
		_, err := fmt.Fprintf(sum, "blob %d\x00", size)
		return sum, err
	case "blake2s256":
		return blake2s.New256(nil)
	}
	return nil, httpapi.Refuse(http.StatusBadRequest, "obj_id.%s is not a hash that can be checked: use sha1, sha1_git, sha256 or blake2s256", name)
}
