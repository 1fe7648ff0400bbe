// SPDX-License-Identifier: GPL-3.0-or-later

package s3

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v4"

	"winery/pool"
)

// Pauses between two attempts at a request.
const (
	firstPause   = 200 * time.Millisecond
	longestPause = 15 * time.Second
)

// retry calls request until it succeeds, fails for good, or has failed for as long
// as patience. Then its last error is returned.
func (p *Pool) retry(ctx context.Context, patience time.Duration, operation string, request func() error) error {
	pauses := backoff.NewExponentialBackOff(backoff.WithInitialInterval(firstPause), backoff.WithMultiplier(2),
		backoff.WithMaxInterval(longestPause), backoff.WithMaxElapsedTime(patience))
	var last error
	err := backoff.RetryNotify(func() error {
		if last = request(); last != nil && !passing(last) {
			return backoff.Permanent(last)
		}
		return last
	}, backoff.WithContext(pauses, ctx), func(err error, pause time.Duration) {
		p.retrying(operation, err, pause)
	})
	if err == nil {
		pool.Progressed(ctx)
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return last
}

// send is retry for a request of a long operation that has an answer.
func send[T any](ctx context.Context, p *Pool, operation string, request func() (T, error)) (answer T, err error) {
	err = p.retry(ctx, p.patience, operation, func() (err error) {
		answer, err = request()
		return err
	})
	return answer, err
}
