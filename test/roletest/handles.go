// SPDX-License-Identifier: GPL-3.0-or-later

package roletest

import (
	"context"

	"winery/pool"
)

// transfer is around for reading and writing. What was moved counts even where
// At fails.
func (h *Hooked) transfer(op Point, name string, do func() (int, error)) (n int, err error) {
	err = h.around(op, name, func() (err error) {
		n, err = do()
		return err
	})
	return n, err
}

type draft struct {
	pool.Draft
	h    *Hooked
	name string
}

func (d *draft) WriteAt(b []byte, off int64) (int, error) {
	return d.h.transfer(Write, d.name, func() (int, error) { return d.Draft.WriteAt(b, off) })
}

func (d *draft) Open(ctx context.Context) (pool.Image, error) {
	return d.h.image(Open, d.name, func() (pool.Image, error) { return d.Draft.Open(ctx) })
}

func (d *draft) Commit(ctx context.Context) error {
	return d.h.around(Commit, d.name, func() error {
		err := d.Draft.Commit(ctx)
		if err == nil {
			d.h.given.Delete(d)
		}
		return err
	})
}

func (d *draft) Abort(ctx context.Context) error {
	d.h.given.Delete(d)
	return d.h.around(Abort, d.name, func() error { return d.Draft.Abort(ctx) })
}

type image struct {
	pool.Image
	h    *Hooked
	name string
}

func (i *image) ReadAt(b []byte, off int64) (int, error) {
	return i.h.transfer(Read, i.name, func() (int, error) { return i.Image.ReadAt(b, off) })
}

func (i *image) Close() error {
	i.h.given.Delete(i)
	return i.h.around(Close, i.name, i.Image.Close)
}

type editor struct {
	pool.Editor
	h    *Hooked
	name string
}

func (e *editor) WriteAt(b []byte, off int64) (int, error) {
	return e.h.transfer(Erase, e.name, func() (int, error) { return e.Editor.WriteAt(b, off) })
}

func (e *editor) Flush() error { return e.h.around(Flush, e.name, e.Editor.Flush) }

func (e *editor) Commit(ctx context.Context) error {
	return e.h.around(CommitEdit, e.name, func() error { return e.Editor.Commit(ctx) })
}

func (e *editor) Close() error {
	e.h.given.Delete(e)
	return e.h.around(CloseEdit, e.name, e.Editor.Close)
}
