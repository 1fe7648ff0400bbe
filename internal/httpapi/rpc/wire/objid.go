// SPDX-License-Identifier: GPL-3.0-or-later

package wire

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
)

// ErrNoSHA256 says that an object id has no sha256, the hash that Winery stores objects under.
var ErrNoSHA256 = errors.New("obj_id has no sha256: Winery finds objects by their SHA-256 alone")

// maxHashes bounds the hashes in an object id; there are four that clients know.
const maxHashes = 16

// Hash is one hash of an object. Sum is nil where the client gave null.
type Hash struct {
	Name string
	Sum  []byte
}

// ObjID is an object id as a client gave it, in its order.
type ObjID []Hash

// SHA256 is the key that the object is stored under: ErrNoSHA256, or an error that names its length. Of two sums under
// that name the last counts, as in Python's maps.
func (id ObjID) SHA256() (key [32]byte, err error) {
	for _, h := range slices.Backward(id) {
		if h.Name == sha256Name {
			return toKey(h.Sum)
		}
	}
	return key, ErrNoSHA256
}

// ID is the object id of a client that knows the SHA-256 only.
func ID(key [32]byte) ObjID { return ObjID{{Name: sha256Name, Sum: key[:]}} }

// String names the object by its SHA-256.
func (id ObjID) String() string {
	key, err := id.SHA256()
	if err != nil {
		return err.Error()
	}
	return "sha256 " + hex.EncodeToString(key[:])
}

func (id ObjID) encode(e Encoder) {
	e.Object(len(id))
	for _, h := range id {
		e.Key(h.Name)
		e.Bytes(h.Sum)
	}
	e.End()
}

const sha256Name = "sha256"

func toKey(sum []byte) (key [32]byte, err error) {
	if sum == nil {
		return key, ErrNoSHA256
	}
	if len(sum) != len(key) {
		return key, fmt.Errorf("obj_id.sha256 has %d bytes: a SHA-256 has 32, as raw bytes, not hexadecimal digits", len(sum))
	}
	return [32]byte(sum), nil
}

// readHashes reads an object id, giving each hash to use.
func readHashes(d Decoder, use func(Hash)) error {
	n := 0
	return d.Object(func(name string) error {
		if n++; n > maxHashes {
			return fmt.Errorf("obj_id has more than %d hashes", maxHashes)
		}
		sum, err := d.Bytes()
		if err != nil {
			return fmt.Errorf("obj_id.%s: %w", name, err)
		}
		use(Hash{Name: name, Sum: sum})
		return nil
	})
}

func readID(d Decoder) (ObjID, error) {
	id := make(ObjID, 0, 4)
	err := readHashes(d, func(h Hash) { id = append(id, h) })
	return id, err
}

// readKey reads an object id of which only the SHA-256 will be needed.
func readKey(d Decoder) (key [32]byte, err error) {
	var sum []byte
	err = readHashes(d, func(h Hash) {
		if h.Name == sha256Name {
			sum = h.Sum
		}
	})
	if err != nil {
		return key, err
	}
	return toKey(sum)
}
