// SPDX-License-Identifier: GPL-3.0-or-later

package rpc

import (
	"context"

	"winery/internal/httpapi/rpc/wire"
)

// Object is an object's SHA-256 and content.
type Object = wire.Object

// Admit is called, once or several times, before contents are read, with the
// bytes of memory that they need together. Its error ends the call. Contents of up to
// [httpapi.Small] bytes may be read before the call.
type Admit = func(bytes int64) error

// Found is what a batch has for one object.
type Found struct {
	Content []byte // nil if there is an error
	Err     error  // httpapi.ErrNotFound or httpapi.ErrCorrupted; any other fails the batch
}

// Store is what the handler serves. All methods are called concurrently. Keys are SHA-256 sums. The errors that have a
// meaning for clients are those of package httpapi.
type Store interface {
	// Contains reports whether the object is there.
	Contains(ctx context.Context, key [32]byte) (bool, error)
	// Get is the object's content, not nil, or ErrNotFound, or ErrCorrupted. The handler does not change it.
	Get(ctx context.Context, key [32]byte, admit Admit) ([]byte, error)
	// GetBatch returns the objects in the order of keys. It calls admit with the sum of their
	// sizes.
	GetBatch(ctx context.Context, keys [][32]byte, admit Admit) ([]Found, error)
	// Add stores the objects that are not there yet, returns once they are durable, and counts them and their bytes.
	// It must not keep the contents after it returned.
	Add(ctx context.Context, objects []Object) (added int, bytes int64, err error)
	// Delete deletes the object; ErrNotFound if it does not exist.
	Delete(ctx context.Context, key [32]byte) error
}
