// SPDX-License-Identifier: GPL-3.0-or-later

// Package pace limits how many bytes a second are read, or moved by a pool.
package pace

import (
	"cmp"
	"context"
	"errors"
	"io"

	"golang.org/x/time/rate"

	"winery/format"
	"winery/pool"
)

// burst is the most that is read at once past a rate.
const burst = 4 << 20

// NewRate limits what all who share it read together to so many bytes a second.
// 0: not at all; then it is nil.
func NewRate(bytes int64) *rate.Limiter {
	if bytes == 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(bytes), burst)
}

// Wait waits until n bytes more may be read. A nil limit is none.
func Wait(ctx context.Context, limit *rate.Limiter, n int64) error {
	for ; limit != nil && n > 0; n -= burst {
		if err := limit.WaitN(ctx, int(min(n, burst))); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// Stream reads from a stream no faster than the limit, and then until ctx ends. A nil
// limit is none.
func Stream(ctx context.Context, from io.Reader, limit *rate.Limiter) io.Reader {
	if limit == nil {
		return from
	}
	return stream{ctx, from, limit}
}

type stream struct {
	ctx   context.Context
	from  io.Reader
	limit *rate.Limiter
}

func (s stream) Read(b []byte) (int, error) {
	n, err := s.from.Read(b)
	return n, cmp.Or(Wait(s.ctx, s.limit, int64(n)), err)
}

// Reader reads from a source no faster than the limit, until ctx ends.
func Reader(ctx context.Context, from io.ReaderAt, limit *rate.Limiter) io.ReaderAt {
	return paced{ctx, from, limit}
}

type paced struct {
	ctx   context.Context
	from  io.ReaderAt
	limit *rate.Limiter
}

func (p paced) ReadAt(b []byte, at int64) (int, error) {
	if err := Wait(p.ctx, p.limit, int64(len(b))); err != nil {
		return 0, err
	}
	return p.from.ReadAt(b, at)
}

// Pool returns a context with which a pool moves images no faster than the limit. A nil
// limit is none.
func Pool(ctx context.Context, limit *rate.Limiter) context.Context {
	if limit == nil {
		return ctx
	}
	return pool.WithLimit(ctx, func(ctx context.Context, bytes int64) error { return Wait(ctx, limit, bytes) })
}

// ReadImage opens an image of a pool by open, which is a method of the pool, and calls read
// with it. What read then reads is read no faster than the limit, until ctx ends.
func ReadImage(ctx context.Context, p pool.Pool, open func(context.Context, string) (pool.Image, error), name string,
	limit *rate.Limiter, read func(format.Reader) error) (err error) {
	img, err := open(ctx, name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, img.Close()) }()
	r, err := p.Format().Open(Reader(ctx, img, limit), img.Size(), name)
	if err != nil {
		return err
	}
	return read(r)
}
