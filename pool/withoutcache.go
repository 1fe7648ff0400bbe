// SPDX-License-Identifier: GPL-3.0-or-later

package pool

import "context"

type withoutCacheKey struct{}

// WithoutCache returns a context with which OpenMapped uses nothing that this process
// has cached of the image on its host, nor the page cache of the files of a directory pool:
// for a scrub, and for a reader to whom the image returned wrong bytes. What is cached may
// be an answer of the store that was wrong once, or no longer what the disk has.
func WithoutCache(ctx context.Context) context.Context {
	return context.WithValue(ctx, withoutCacheKey{}, true)
}

// SkipsCache is for pools: it reports whether ctx is one of [WithoutCache].
func SkipsCache(ctx context.Context) bool { return ctx.Value(withoutCacheKey{}) != nil }
