// SPDX-License-Identifier: GPL-3.0-or-later

package writer

import (
	"context"
	"errors"
	"fmt"

	"winery/internal/httpapi/rpc"
	"winery/internal/ingest"
	"winery/internal/reader"
	"winery/pool"
	"winery/sharedbase"
)

// store is what the HTTP APIs serve. writer is nil if it is read-only: then
// nobody calls Add or Delete.
type store struct {
	base   *sharedbase.SharedBase
	reader *reader.Reader
	writer *ingest.Writer
}

func (s *store) Contains(ctx context.Context, id [32]byte) (bool, error) {
	found, err := s.reader.Contains(ctx, id)
	return found, translate(err)
}

func (s *store) Get(ctx context.Context, id [32]byte) ([]byte, error) {
	content, err := s.reader.Get(ctx, id)
	return content, translate(err)
}

func (s *store) GetBatch(ctx context.Context, ids [][32]byte) ([][]byte, error) {
	contents, err := s.reader.GetBatch(ctx, ids)
	return contents, translate(err)
}

// Add needs no hint about presence: the index is asked in any case.
func (s *store) Add(ctx context.Context, objects []rpc.Object, _ bool) (int, int64, error) {
	converted := make([]sharedbase.Object, len(objects))
	for i, o := range objects {
		converted[i] = sharedbase.Object(o)
	}
	added, err := s.writer.Add(ctx, converted)
	return added.Objects, added.Bytes, translate(err)
}

func (s *store) Delete(ctx context.Context, id [32]byte) error {
	return translate(s.base.Delete(ctx, id))
}

func (s *store) Check(ctx context.Context, id [32]byte) error {
	return translate(s.reader.Check(ctx, id))
}

func (s *store) List(ctx context.Context, after [32]byte, limit int) ([][32]byte, error) {
	ids, err := s.base.ListObjects(ctx, after, limit)
	return ids, translate(err)
}

// translate gives errors the meaning that clients are told.
func translate(err error) error {
	var kind error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, reader.ErrNotFound), errors.Is(err, sharedbase.ErrNotFound):
		kind = rpc.ErrNotFound
	case errors.As(err, new(*reader.CorruptError)):
		kind = rpc.ErrCorrupted
	case errors.Is(err, sharedbase.ErrUnavailable), errors.Is(err, sharedbase.ErrFull), errors.Is(err, pool.ErrNotMapped),
		errors.Is(err, reader.ErrImageUnavailable), errors.Is(err, ingest.ErrBusy), errors.Is(err, ingest.ErrClosed):
		kind = rpc.ErrUnavailable
	default:
		return err
	}
	return fmt.Errorf("%w: %w", kind, err)
}
