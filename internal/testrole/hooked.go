// SPDX-License-Identifier: GPL-3.0-or-later

package testrole

import (
	"context"
	"fmt"

	"winery/pool"
)

// Point is where a [Hooked] pool calls back.
type Point string

// The points, each before the operation it is named for; Committed and Mapped
// come after theirs.
const (
	Create     Point = "create"
	Write      Point = "write" // of a draft
	Commit     Point = "commit"
	Committed  Point = "committed"
	Open       Point = "open" // of an image or a draft
	Map        Point = "map"
	Mapped     Point = "mapped"
	OpenMapped Point = "open mapped"
	Listing    Point = "list mapped"
	Edit       Point = "edit"
	Erase      Point = "erase" // a write of an editor
	Flush      Point = "flush" // of an editor
	CloseEdit  Point = "close edit"
)

// Hooked is a pool that calls At before it does what it is asked to. An error
// of At is the operation's.
type Hooked struct {
	pool.Pool
	At func(point Point, image string) error
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

// Create implements [pool.Pool].
func (h *Hooked) Create(ctx context.Context, name string, room int64, held func(context.Context) error) (pool.Draft, error) {
	if err := h.at(Create, name); err != nil {
		return nil, err
	}
	d, err := h.Pool.Create(ctx, name, room, held)
	if err != nil {
		return nil, err
	}
	return &draft{d, h, name}, nil
}

// Open implements [pool.Pool].
func (h *Hooked) Open(ctx context.Context, name string) (pool.Image, error) {
	if err := h.at(Open, name); err != nil {
		return nil, err
	}
	return h.Pool.Open(ctx, name)
}

// OpenMapped implements [pool.Pool].
func (h *Hooked) OpenMapped(ctx context.Context, name string) (pool.Image, error) {
	if err := h.at(OpenMapped, name); err != nil {
		return nil, err
	}
	return h.Pool.OpenMapped(ctx, name)
}

// Map implements [pool.Pool].
func (h *Hooked) Map(ctx context.Context, name string) error {
	if err := h.at(Map, name); err != nil {
		return err
	}
	if err := h.Pool.Map(ctx, name); err != nil {
		return err
	}
	return h.at(Mapped, name)
}

// Mapped implements [pool.Pool].
func (h *Hooked) Mapped(ctx context.Context) (map[string]bool, error) {
	if err := h.at(Listing, ""); err != nil {
		return nil, err
	}
	return h.Pool.Mapped(ctx)
}

// Edit implements [pool.Pool].
func (h *Hooked) Edit(ctx context.Context, name string) (pool.Editor, error) {
	if err := h.at(Edit, name); err != nil {
		return nil, err
	}
	e, err := h.Pool.Edit(ctx, name)
	if err != nil {
		return nil, err
	}
	return &editor{e, h, name}, nil
}

type draft struct {
	pool.Draft
	h    *Hooked
	name string
}

func (d *draft) WriteAt(b []byte, off int64) (int, error) {
	if err := d.h.at(Write, d.name); err != nil {
		return 0, err
	}
	return d.Draft.WriteAt(b, off)
}

func (d *draft) Open(ctx context.Context) (pool.Image, error) {
	if err := d.h.at(Open, d.name); err != nil {
		return nil, err
	}
	return d.Draft.Open(ctx)
}

func (d *draft) Commit(ctx context.Context) error {
	if err := d.h.at(Commit, d.name); err != nil {
		return err
	}
	if err := d.Draft.Commit(ctx); err != nil {
		return err
	}
	return d.h.at(Committed, d.name)
}

type editor struct {
	pool.Editor
	h    *Hooked
	name string
}

func (e *editor) WriteAt(b []byte, off int64) (int, error) {
	if err := e.h.at(Erase, e.name); err != nil {
		return 0, err
	}
	return e.Editor.WriteAt(b, off)
}

func (e *editor) Flush() error {
	if err := e.h.at(Flush, e.name); err != nil {
		return err
	}
	return e.Editor.Flush()
}

func (e *editor) Close() error {
	if err := e.h.at(CloseEdit, e.name); err != nil {
		return err
	}
	return e.Editor.Close()
}
