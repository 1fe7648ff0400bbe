// SPDX-License-Identifier: GPL-3.0-or-later

package scrub

import (
	"context"
	"io"

	"golang.org/x/time/rate"
)

// burst is the most that is read at once past a rate.
const burst = 4 << 20

// NewRate limits what scrubs read together to so many bytes a second. 0: not at
// all.
func NewRate(bytes int64) *rate.Limiter {
	if bytes == 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(bytes), burst)
}

// pace waits until n bytes more may be read.
func pace(ctx context.Context, limit *rate.Limiter, n int64) error {
	for ; limit != nil && n > 0; n -= burst {
		if err := limit.WaitN(ctx, int(min(n, burst))); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// paced reads no faster than the limit, until ctx ends.
type paced struct {
	ctx   context.Context
	from  io.ReaderAt
	limit *rate.Limiter
}

func (p paced) ReadAt(b []byte, at int64) (int, error) {
	if err := pace(p.ctx, p.limit, int64(len(b))); err != nil {
		return 0, err
	}
	return p.from.ReadAt(b, at)
}
