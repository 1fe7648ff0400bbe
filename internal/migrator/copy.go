// SPDX-License-Identifier: GPL-3.0-or-later

package migrator

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"

	"golang.org/x/sync/errgroup"

	"winery/internal/pace"
	"winery/internal/progress"
	"winery/pool"
)

const (
	blockSize   = 4 << 20
	concurrency = 4 // of blocks
)

// copy makes an image of the first size bytes of the source, durable and
// visible when it returns without an error.
func (m *Migrator) copy(ctx context.Context, name string, source io.ReaderAt, size int64, proof pool.ReplaceProof) (err error) {
	draft, err := m.To.Create(ctx, name, size, proof)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, draft.Abort(ctx)) }() // nothing after Commit
	c := &copier{source: source, draft: draft, size: size, progress: m.Progress.NewMeter(Copying, name, size)}
	if err := c.all(ctx); err != nil {
		return err
	}
	return draft.Commit(pace.Pool(ctx, m.Rate))
}

// copier copies blocks.
type copier struct {
	source io.ReaderAt
	draft  pool.Draft
	size   int64

	mu       sync.Mutex
	progress *progress.Meter
}

// all copies the first block last: it has the header, without which the rest
// is no image.
func (c *copier) all(ctx context.Context) error {
	group, working := errgroup.WithContext(ctx)
	group.SetLimit(concurrency)
	for at := int64(blockSize); at < c.size && working.Err() == nil; at += blockSize {
		group.Go(func() error { return c.block(working, at) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return c.block(ctx, 0)
}

var buffers = sync.Pool{New: func() any { return new([blockSize]byte) }}

var zeros [blockSize]byte

// block copies one, unless it is all zeros, which a draft is anyway. The last
// is written in any case: a file ends where the last write did.
func (c *copier) block(ctx context.Context, at int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	room := buffers.Get().(*[blockSize]byte)
	defer buffers.Put(room)
	b := room[:min(blockSize, c.size-at)]
	if n, err := c.source.ReadAt(b, at); n < len(b) {
		return err
	}
	if at+blockSize >= c.size || !bytes.Equal(b, zeros[:len(b)]) {
		if _, err := c.draft.WriteAt(b, at); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.progress.Add(int64(len(b)))
	return nil
}
