// SPDX-License-Identifier: GPL-3.0-or-later

package writer

import (
	"context"
	"errors"
	"fmt"

	"winery/internal/httpapi"
	"winery/internal/httpapi/rpc"
	"winery/internal/ingest"
	"winery/internal/reader"
	"winery/pool"
	"winery/sharedbase"
)

// store is what the HTTP APIs serve. writer is nil if the store is read-only:
// then Add and Delete are never called.
type store struct {
	base   *sharedbase.SharedBase
	reader *reader.Reader
	writer *ingest.Writer
}

func (s *store) Contains(ctx context.Context, id [32]byte) (bool, error) {
	found, err := s.reader.Contains(ctx, id)
	return found, translate(err)
}

func (s *store) Size(ctx context.Context, id [32]byte) (int64, error) {
	size, err := s.reader.Size(ctx, id)
	return size, translate(err)
}

func (s *store) Get(ctx context.Context, id [32]byte, admit rpc.Admit) ([]byte, error) {
	content, err := s.reader.Get(ctx, id, admit)
	return content, translate(err)
}

func (s *store) GetBatch(ctx context.Context, ids [][32]byte, admit rpc.Admit) ([]rpc.Found, error) {
	objects, err := s.reader.GetBatch(ctx, ids, admit)
	if err != nil {
		return nil, translate(err)
	}
	found := make([]rpc.Found, len(objects))
	for i, o := range objects {
		found[i] = rpc.Found{Content: o.Content, Err: translate(o.Err)}
	}
	return found, nil
}

func (s *store) Add(ctx context.Context, objects []rpc.Object) (int, int64, error) {
	converted := make([]sharedbase.Object, len(objects))
	for i, o := range objects {
		converted[i] = sharedbase.Object(o)
	}
	added, err := s.writer.Add(ctx, converted)
	return added.Objects, added.Bytes, translate(err)
}

func (s *store) Delete(ctx context.Context, id [32]byte) error {
	return translate(s.base.Delete(sharedbase.WithRequester(ctx, sharedbase.Requester(httpapi.OriginOf(ctx))), id))
}

func (s *store) List(ctx context.Context, after [32]byte, limit int) ([][32]byte, error) {
	ids, err := s.base.ListObjects(ctx, after, limit)
	return ids, translate(err)
}

// passing has the errors of a request that may succeed when it is repeated, with
// the text that tells clients what is unavailable.
var passing = []struct {
	err  error
	what string
}{
	{sharedbase.ErrFull, "the database's disk is full"},
	{sharedbase.ErrContended, "another transaction holds the object's row in the database"},
	{sharedbase.ErrLeaseLost, lostShard},
	{sharedbase.ErrUnavailable, "the database is unavailable"},
	{pool.ErrNotMapped, "the image of the object's shard is not mapped on this server"},
	{reader.ErrImageUnavailable, "the image of the object's shard does not answer"},
	{ingest.ErrBusy, "the writer is busy"},
	{ingest.ErrClosed, "the server is shutting down"},
	{pool.ErrUnavailable, "the store of the object's pool does not answer"},
	{pool.ErrNoPool, "the object's pool does not exist"},
	{reader.ErrPoolNotConfigured, "the object's pool is not configured on this server"},
}

const lostShard = "the writer has lost the claim to its shard"

// translate gives errors the meaning that clients see.
func translate(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, reader.ErrNotFound), errors.Is(err, sharedbase.ErrNotFound):
		return fmt.Errorf("%w: %w", httpapi.ErrNotFound, err)
	case errors.As(err, new(*reader.CorruptError)):
		return fmt.Errorf("%w: %w", httpapi.ErrCorrupted, err)
	case errors.As(err, new(*sharedbase.StateError)):
		return httpapi.Unavailable(lostShard, err)
	}
	for _, known := range passing {
		if errors.Is(err, known.err) {
			return httpapi.Unavailable(known.what, err)
		}
	}
	if errors.As(err, new(*pool.AccessError)) {
		return httpapi.Unavailable("the store of the object's pool does not let this server read", err)
	}
	return err
}
