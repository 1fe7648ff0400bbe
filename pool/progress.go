// SPDX-License-Identifier: GPL-3.0-or-later

package pool

import "context"

type progressKey struct{}

// WithProgress returns a context with which a call that may take long, such as the
// Commit of an image that is uploaded, calls progressed each time that it made
// progress, from any goroutine; then the function that ctx has already, if any.
func WithProgress(ctx context.Context, progressed func()) context.Context {
	return context.WithValue(ctx, progressKey{}, func() {
		progressed()
		Progressed(ctx)
	})
}

// Progressed is for pools: it calls the function of [WithProgress], if there is one.
func Progressed(ctx context.Context) {
	if progressed, ok := ctx.Value(progressKey{}).(func()); ok {
		progressed()
	}
}
