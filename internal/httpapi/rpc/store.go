// SPDX-License-Identifier: GPL-3.0-or-later

package rpc

import (
	"context"
	"errors"

	"winery/internal/httpapi"
	"winery/internal/httpapi/rpc/wire"
)

// Object is an object's SHA-256 and content.
type Object = wire.Object

// Store is what the handler serves. All methods are called concurrently. Keys are SHA-256 sums.
type Store interface {
	// Contains tells whether the object is there.
	Contains(ctx context.Context, key [32]byte) (bool, error)
	// Get is the object's content, not nil, or ErrNotFound. The handler does not change it.
	Get(ctx context.Context, key [32]byte) ([]byte, error)
	// GetBatch has the contents in the order of keys, nil for those that are not there.
	GetBatch(ctx context.Context, keys [][32]byte) ([][]byte, error)
	// Add stores the objects that are not there yet, returns once they are durable, and counts them and their bytes.
	// checkPresence tells that the client expects many to be there. It must not keep the contents after it returned.
	Add(ctx context.Context, objects []Object, checkPresence bool) (added int, bytes int64, err error)
	// Delete makes the object unreadable for good; ErrNotFound if it is not there.
	Delete(ctx context.Context, key [32]byte) error
	// Check reads the object from where it is stored: ErrNotFound, or ErrCorrupted if its SHA-256 is not key.
	Check(ctx context.Context, key [32]byte) error
}

// The errors of a Store that have a meaning for clients; others are answered with status 500. Their texts reach the client.
var (
	ErrNotFound    = errors.New("object not found")
	ErrCorrupted   = errors.New("object corrupted")
	ErrReadOnly    = errors.New("this object storage is read-only")
	ErrForbidden   = errors.New("not allowed")
	ErrUnavailable = httpapi.ErrUnavailable
)
