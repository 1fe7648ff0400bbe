// SPDX-License-Identifier: GPL-3.0-or-later

package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"winery/pool"
	"winery/sharedbase"
)

// Owned returns the same pools for a role that works for base: each refuses, with
// *RefusedError, to do anything until its marker says that it is this database's.
// A pool without a marker is adopted once, if it holds what the database says.
// The marker is read again before an image is created, committed, edited, removed
// or opened in the store, so that a file system that is unmounted meanwhile is
// noticed.
func (s Set) Owned(base *sharedbase.SharedBase, log *slog.Logger) Set {
	return s.guarded(&guard{base: base, adopts: true, log: log})
}

// Checked is Owned for a command, which adopts no pool: one that has neither a
// marker nor a record may be used.
func (s Set) Checked(base *sharedbase.SharedBase) Set { return s.guarded(&guard{base: base}) }

func (s Set) guarded(like *guard) Set {
	set := Set{}
	for name, p := range s {
		set[name] = &guard{Pool: p, base: like.base, adopts: like.adopts, log: like.log}
	}
	return set
}

// Check returns nil if a pool of Owned or Checked can be used this moment. Of the pools
// of another set it asks nothing, and returns nil.
func (s Set) Check(ctx context.Context, name string) error {
	g, ok := s[name].(*guard)
	if !ok {
		return nil
	}
	return g.fresh(ctx)
}

// checkTimeout bounds the reading of a marker, by a store that does not answer.
const checkTimeout = time.Minute

// guard is a pool that works only while it is a database's.
type guard struct {
	pool.Pool
	base   *sharedbase.SharedBase
	adopts bool
	log    *slog.Logger // of adoptions

	flight singleflight.Group // one check at a time, so that a store that hangs holds one thread

	marker atomic.Pointer[[]byte] // with which the pool was found to be the database's; nil: it was not
}

// known returns nil if the pool belonged to the database at the last check.
func (g *guard) known(ctx context.Context) error {
	if g.marker.Load() != nil {
		return nil
	}
	return g.fresh(ctx)
}

// fresh reads the marker again. Callers that come while it is read share the outcome.
func (g *guard) fresh(ctx context.Context) error {
	done := g.flight.DoChan("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTimeout)
		defer cancel()
		return nil, g.check(ctx)
	})
	select {
	case outcome := <-done:
		return outcome.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *guard) check(ctx context.Context) error {
	marker, err := g.Pool.Marker(ctx)
	known := g.marker.Load()
	switch {
	case err == nil && known != nil && bytes.Equal(marker, *known):
		return nil
	case err != nil && !errors.Is(err, pool.ErrNoMarker) && !errors.Is(err, pool.ErrNoPool):
		return err // the store does not answer: nothing is known that was not before
	}
	g.marker.Store(nil)
	i, err := Identify(ctx, g.base, g.Pool)
	switch {
	case err != nil:
		return err
	case i.Why != nil:
		return i.Why
	case i.State == Recorded:
		g.marker.Store(&marker)
		return nil
	case !g.adopts:
		return nil
	}
	if err := adopt(ctx, g.base, g.Pool, i); err != nil {
		return err
	}
	g.log.Info("pool adopted", "pool", g.Name())
	return nil // the next check remembers its marker
}

func (g *guard) Create(ctx context.Context, name string, room int64, proof pool.ReplaceProof) (pool.Draft, error) {
	if err := g.fresh(ctx); err != nil {
		return nil, err
	}
	d, err := g.Pool.Create(ctx, name, room, proof)
	if err != nil {
		return nil, err
	}
	return guardedDraft{d, g}, nil
}

type guardedDraft struct {
	pool.Draft
	g *guard
}

func (d guardedDraft) Commit(ctx context.Context) error {
	if err := d.g.fresh(ctx); err != nil {
		return err
	}
	return d.Draft.Commit(ctx)
}

func (g *guard) Open(ctx context.Context, name string) (pool.Image, error) {
	if err := g.fresh(ctx); err != nil {
		return nil, err
	}
	return g.Pool.Open(ctx, name)
}

// OpenMapped says ErrNotMapped of a pool that is refused: a reader may find the
// object elsewhere.
func (g *guard) OpenMapped(ctx context.Context, name string) (pool.Image, error) {
	err := g.known(ctx)
	if errors.As(err, new(*RefusedError)) {
		err = fmt.Errorf("%w: %w", pool.ErrNotMapped, err)
	}
	if err != nil {
		return nil, err
	}
	return g.Pool.OpenMapped(ctx, name)
}

func (g *guard) Edit(ctx context.Context, name string, proof pool.Proof) (pool.Editor, error) {
	if err := g.fresh(ctx); err != nil {
		return nil, err
	}
	return g.Pool.Edit(ctx, name, proof)
}

func (g *guard) Reserve(ctx context.Context, name string) error {
	if err := g.fresh(ctx); err != nil {
		return err
	}
	return g.Pool.Reserve(ctx, name)
}

func (g *guard) Map(ctx context.Context, name string) error {
	if err := g.known(ctx); err != nil {
		return err
	}
	return g.Pool.Map(ctx, name)
}

func (g *guard) Mapped(ctx context.Context) (map[string]bool, error) {
	if err := g.fresh(ctx); err != nil {
		return nil, err
	}
	return g.Pool.Mapped(ctx)
}

func (g *guard) List(ctx context.Context) ([]string, error) {
	if err := g.fresh(ctx); err != nil {
		return nil, err
	}
	return g.Pool.List(ctx)
}

func (g *guard) Space(ctx context.Context) (pool.Space, error) {
	if err := g.fresh(ctx); err != nil {
		return pool.Space{}, err
	}
	return g.Pool.Space(ctx)
}

func (g *guard) Remove(ctx context.Context, name string, proof pool.Proof) error {
	if err := g.fresh(ctx); err != nil {
		return err
	}
	return g.Pool.Remove(ctx, name, proof)
}
