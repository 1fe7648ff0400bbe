// SPDX-License-Identifier: GPL-3.0-or-later

package pool

import "context"

type limitKey struct{}

// WithLimit returns a context with which a call that moves a whole image over the
// network, such as the Commit of an image that is uploaded, or the first change of one
// that is copied first, moves no more than is allowed: it calls wait with a number of
// bytes, from any goroutine, and continues when wait has returned, or fails with its error.
func WithLimit(ctx context.Context, wait func(ctx context.Context, bytes int64) error) context.Context {
	return context.WithValue(ctx, limitKey{}, wait)
}

// Limited is for pools. It calls the function of [WithLimit], if there is one, returns its
// error, and reports progress once that function has returned.
func Limited(ctx context.Context, bytes int64) error {
	wait, ok := ctx.Value(limitKey{}).(func(context.Context, int64) error)
	if !ok {
		return nil
	}
	if err := wait(ctx, bytes); err != nil {
		return err
	}
	Progressed(ctx)
	return nil
}
