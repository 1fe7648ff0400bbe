// SPDX-License-Identifier: GPL-3.0-or-later

package format

import (
	"context"

	"golang.org/x/sync/errgroup"
)

// verifiers hash at once; each reads up to verifierBuffer bytes at a time.
const (
	verifiers      = 4
	verifierBuffer = 4 << 20
)

// Extents calls read for each extent that split sends, at most 4 at once, each with a
// buffer of 4 MiB of its own, which is valid during the call. It stops at the first error.
func Extents[X any](ctx context.Context, split func(context.Context, chan<- X) error, read func(context.Context, X, []byte) error) error {
	room, err := Reallocate[byte](nil, verifiers*verifierBuffer)
	if err != nil {
		return err
	}
	defer func() { _, _ = Reallocate(room, 0) }()
	g, ctx := errgroup.WithContext(ctx)
	extents := make(chan X)
	g.Go(func() error {
		defer close(extents)
		return split(ctx, extents)
	})
	for i := range verifiers {
		g.Go(func() error {
			buf := room[i*verifierBuffer:][:verifierBuffer]
			for x := range extents {
				if err := read(ctx, x, buf); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}
