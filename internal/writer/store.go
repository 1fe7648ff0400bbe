// SPDX-License-Identifier: GPL-3.0-or-later

package writer

import (
	"context"
	"errors"
	"fmt"

	"winery/internal/objstore"
	"winery/internal/rpc"
	"winery/pool"
	"winery/sharedbase"
)

// Store is what the HTTP API serves: objects are added through Writer, read
// through Reader, and deleted in Base. It implements [rpc.Store].
type Store struct {
	Base        *sharedbase.SharedBase
	Reader      *objstore.Reader
	Writer      *Writer // nil: read-only
	AllowDelete bool
}

var _ rpc.Store = Store{}

// Contains implements [rpc.Store].
func (s Store) Contains(ctx context.Context, id [32]byte) (bool, error) {
	there, err := s.Reader.Contains(ctx, id)
	return there, toClient(err)
}

// Get implements [rpc.Store].
func (s Store) Get(ctx context.Context, id [32]byte) ([]byte, error) {
	content, err := s.Reader.Get(ctx, id)
	return content, toClient(err)
}

// GetBatch implements [rpc.Store].
func (s Store) GetBatch(ctx context.Context, ids [][32]byte) ([][]byte, error) {
	contents, err := s.Reader.GetBatch(ctx, ids)
	return contents, toClient(err)
}

// Check implements [rpc.Store].
func (s Store) Check(ctx context.Context, id [32]byte) error {
	return toClient(s.Reader.Check(ctx, id))
}

// Add implements [rpc.Store]. It does not look for the objects first, even if
// the client expects to find them: adding finds those that are there.
func (s Store) Add(ctx context.Context, objects []rpc.Object, _ bool) (added int, bytes int64, err error) {
	if s.Writer == nil {
		return 0, 0, rpc.ErrReadOnly
	}
	given := make([]sharedbase.Object, len(objects))
	for i, o := range objects {
		given[i] = sharedbase.Object(o)
	}
	result, err := s.Writer.Add(ctx, given)
	return result.Objects, result.Bytes, toClient(err)
}

// Delete implements [rpc.Store].
func (s Store) Delete(ctx context.Context, id [32]byte) error {
	switch {
	case s.Writer == nil:
		return rpc.ErrReadOnly
	case !s.AllowDelete:
		return rpc.ErrForbidden
	}
	return toClient(s.Base.Delete(ctx, id))
}

// toClient gives an error the meaning that it has for clients.
func toClient(err error) error {
	var corrupt *objstore.CorruptError
	var meaning error
	switch {
	case errors.Is(err, objstore.ErrNotFound), errors.Is(err, sharedbase.ErrNotFound):
		meaning = rpc.ErrNotFound
	case errors.As(err, &corrupt):
		meaning = rpc.ErrCorrupted
	case errors.Is(err, sharedbase.ErrUnavailable), errors.Is(err, sharedbase.ErrFull), errors.Is(err, pool.ErrNotMapped),
		errors.Is(err, ErrBusy), errors.Is(err, ErrClosed):
		meaning = rpc.ErrUnavailable
	default:
		return err
	}
	return fmt.Errorf("%w: %w", meaning, err)
}
