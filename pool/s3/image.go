// SPDX-License-Identifier: GPL-3.0-or-later

package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"winery/pool"
)

// image is an image opened for reading. It reads one version of the object. When
// that was replaced by one of the same size, as an eraser does, it continues with
// the new one, as a reader of a file that is erased in.
type image struct {
	pool     *Pool
	name     string
	size     int64
	patience time.Duration
	cached   bool
	ctx      context.Context //nolint:containedctx // ReadAt has none; Close ends it
	cancel   context.CancelFunc

	mu   sync.Mutex
	etag string
}

// Open implements [pool.Pool]: it reads the store, past the cache, and reads ahead
// where it is read in sequence.
func (p *Pool) Open(ctx context.Context, name string) (pool.Image, error) {
	if err := pool.Check(ctx, name); err != nil {
		return nil, err
	}
	found, err := p.stat(ctx, name)
	if err != nil {
		return nil, p.fail("open", name, err)
	}
	return newReadAhead(p.image(name, found, p.patience)), nil
}

// OpenMapped implements [pool.Pool]. After [pool.WithoutCache] it forgets what is cached of
// the image, for all handles.
func (p *Pool) OpenMapped(ctx context.Context, name string) (pool.Image, error) {
	if err := pool.Check(ctx, name); err != nil {
		return nil, err
	}
	found, err := p.statFor(ctx, p.readPatience, name)
	if is(err, pool.ErrNotFound) {
		return nil, fmt.Errorf("%w: %w", pool.ErrNotMapped, p.fail("open", name, err))
	}
	if err != nil {
		return nil, p.fail("open", name, err)
	}
	i := p.image(name, found, p.readPatience)
	i.cached = p.cache != nil
	if i.cached && pool.SkipsCache(ctx) {
		p.cache.Forget(name)
	}
	return i, nil
}

func (p *Pool) image(name string, found object, patience time.Duration) *image {
	i := &image{pool: p, name: name, size: found.size, etag: found.etag, patience: patience}
	i.ctx, i.cancel = context.WithCancel(context.Background())
	return i
}

func (i *image) Size() int64 { return i.size }

func (i *image) Close() error {
	i.cancel()
	return nil
}

func (i *image) ReadAt(b []byte, off int64) (int, error) {
	part, err := clipToSize(b, off, i.size)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, i.pool.fail("read", i.name, err)
	}
	n, failed := i.fill(part, off)
	if failed != nil {
		return n, i.pool.fail("read", i.name, failed)
	}
	return n, err
}

// clipToSize cuts b to what there is from off on, with io.EOF if that is less.
func clipToSize(b []byte, off, size int64) ([]byte, error) {
	switch {
	case off < 0:
		return nil, fmt.Errorf("%w: offset %d", errArgument, off)
	case int64(len(b)) <= size-off:
		return b, nil
	}
	return b[:max(0, size-off)], io.EOF
}

var errArgument = errors.New("not in the image")

// largestCached is the longest read that passes through the cache: the reading of a
// whole image would drive out what readers use.
const largestCached = 1 << 20

// fill fills b, which is within the image. Its errors are the store's.
func (i *image) fill(b []byte, off int64) (int, error) {
	if !i.cached || len(b) > largestCached {
		return i.fetch(b, off)
	}
	i.mu.Lock()
	etag := i.etag
	i.mu.Unlock()
	return i.pool.cache.ReadAt(i.name, etag, i.size, b, off, func(b []byte, off int64) error {
		_, err := i.fetch(b, off)
		return err
	})
}

// fetch is fill from the store.
func (i *image) fetch(b []byte, off int64) (n int, err error) {
	for range 3 { // another eraser may replace the image again
		i.mu.Lock()
		etag := i.etag
		i.mu.Unlock()
		n, err = i.pool.read(i.ctx, i.patience, i.name, etag, b, off)
		if !is(err, pool.ErrExists) {
			return n, err
		}
		if err := i.renew(etag); err != nil {
			return 0, err
		}
	}
	return n, err
}

// renew finds the version that replaced the one with ETag old.
func (i *image) renew(old string) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.etag != old {
		return nil // another ReadAt did
	}
	found, err := i.pool.statFor(i.ctx, i.patience, i.name)
	if err != nil {
		return err
	}
	if found.size != i.size {
		return fmt.Errorf("%w: %w", pool.ErrNotFound, errReplaced)
	}
	i.etag = found.etag
	return nil
}
