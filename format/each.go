// SPDX-License-Identifier: GPL-3.0-or-later

package format

import (
	"context"

	"golang.org/x/sync/errgroup"
)

// Each calls fn for each of the items, with the given concurrency, at least 1. It stops
// at the first error.
func Each[T any](ctx context.Context, concurrency int, items []T, fn func(context.Context, T) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(concurrency)
	for _, item := range items {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return fn(ctx, item)
		})
	}
	return group.Wait()
}
