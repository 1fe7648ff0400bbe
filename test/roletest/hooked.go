// SPDX-License-Identifier: GPL-3.0-or-later

package roletest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"winery/pool"
)

// Point is a place between two operations of a process: before an operation of
// its pool, which is called like the point, before a statement to its database,
// or [After] one of these.
type Point string

// The operations of a [Hooked] pool.
const (
	Create     Point = "create"
	Verify     Point = "verify proof"
	MayReplace Point = "may replace" // the question to a proof
	Write      Point = "write"
	Commit     Point = "commit image"
	Abort      Point = "abort"
	Open       Point = "open" // of an image or a draft
	Read       Point = "read" // of what was opened
	Close      Point = "close"
	Map        Point = "map"
	OpenMapped Point = "open mapped"
	Listing    Point = "list mapped"
	Edit       Point = "edit"
	Erase      Point = "erase" // a write of an editor
	Flush      Point = "flush" // of an editor
	CommitEdit Point = "commit edit"
	CloseEdit  Point = "close edit"
)

const after = "after "

// After is the point that follows an operation that went well.
func After(op Point) Point { return after + op }

// After is the operation that the point follows; false where it precedes one.
func (p Point) After() (op Point, ok bool) {
	text, ok := strings.CutPrefix(string(p), after)
	return Point(text), ok
}

// Two of these.
const (
	Committed = after + Commit
	Mapped    = after + Map
)

// Hooked is a pool that calls At before and after each operation. The operation
// returns an error of At.
type Hooked struct {
	pool.Pool
	At func(point Point, image string) error

	given sync.Map // open handles, with their images
}

// WantNoHandles fails the test if a handle was not closed.
func (h *Hooked) WantNoHandles(t testing.TB) {
	t.Helper()
	h.given.Range(func(handle, image any) bool {
		t.Errorf("a handle of image %s was not closed: %T", image, handle)
		return true
	})
}

// give notes a handle.
func give[T any](h *Hooked, handle T, image string) T {
	h.given.Store(handle, image)
	return handle
}

func (h *Hooked) at(point Point, image string) error {
	if h.At == nil {
		return nil
	}
	if err := h.At(point, image); err != nil {
		return fmt.Errorf("%s of image %s: %w", point, image, err)
	}
	return nil
}

// around does an operation between its points.
func (h *Hooked) around(op Point, image string, do func() error) error {
	if err := h.at(op, image); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	return h.at(After(op), image)
}

// opening is around for what gives a handle, which an error of At closes.
func opening[T io.Closer](h *Hooked, op Point, image string, do func() (T, error)) (handle T, err error) {
	opened := false
	err = h.around(op, image, func() error {
		handle, err = do()
		opened = err == nil
		return err
	})
	if err != nil && opened {
		err = errors.Join(err, handle.Close())
	}
	return handle, err
}

// Create implements [pool.Pool].
func (h *Hooked) Create(ctx context.Context, name string, room int64, proof pool.ReplaceProof) (pool.Draft, error) {
	var d pool.Draft
	err := h.around(Create, name, func() (err error) {
		d, err = h.Pool.Create(ctx, name, room, asked{h, name, proof, proof})
		return err
	})
	if err != nil && d != nil {
		err = errors.Join(err, d.Abort(ctx))
	}
	if err != nil {
		return nil, err
	}
	return give(h, &draft{d, h, name}, name), nil
}

// asked is a proof between its points.
type asked struct {
	h       *Hooked
	image   string
	proof   pool.Proof
	replace pool.ReplaceProof // of Create
}

func (a asked) Verify(ctx context.Context) error {
	return a.h.around(Verify, a.image, func() error { return a.proof.Verify(ctx) })
}

func (a asked) MayReplace(ctx context.Context, existing io.ReaderAt, size int64) error {
	return a.h.around(MayReplace, a.image, func() error { return a.replace.MayReplace(ctx, existing, size) })
}

// Open implements [pool.Pool].
func (h *Hooked) Open(ctx context.Context, name string) (pool.Image, error) {
	return h.image(Open, name, func() (pool.Image, error) { return h.Pool.Open(ctx, name) })
}

// OpenMapped implements [pool.Pool].
func (h *Hooked) OpenMapped(ctx context.Context, name string) (pool.Image, error) {
	return h.image(OpenMapped, name, func() (pool.Image, error) { return h.Pool.OpenMapped(ctx, name) })
}

func (h *Hooked) image(op Point, name string, open func() (pool.Image, error)) (pool.Image, error) {
	img, err := opening(h, op, name, open)
	if err != nil {
		return nil, err
	}
	return give(h, &image{img, h, name}, name), nil
}

// Map implements [pool.Pool].
func (h *Hooked) Map(ctx context.Context, name string) error {
	return h.around(Map, name, func() error { return h.Pool.Map(ctx, name) })
}

// Mapped implements [pool.Pool].
func (h *Hooked) Mapped(ctx context.Context) (names map[string]bool, err error) {
	err = h.around(Listing, "", func() (err error) {
		names, err = h.Pool.Mapped(ctx)
		return err
	})
	return names, err
}

// Edit implements [pool.Pool].
func (h *Hooked) Edit(ctx context.Context, name string, proof pool.Proof) (pool.Editor, error) {
	e, err := opening(h, Edit, name, func() (pool.Editor, error) {
		return h.Pool.Edit(ctx, name, asked{h: h, image: name, proof: proof})
	})
	if err != nil {
		return nil, err
	}
	return give(h, &editor{e, h, name}, name), nil
}
