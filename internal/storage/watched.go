// SPDX-License-Identifier: GPL-3.0-or-later

package storage

import (
	"context"

	"winery/pool"
)

// Watched returns the same pools, which call alive, from any goroutine, each time
// that the store has completed an operation: so that a long step can be
// distinguished from a stalled one.
func (s Set) Watched(alive func()) Set {
	set := Set{}
	for name, p := range s {
		set[name] = &watched{p, alive}
	}
	return set
}

type watched struct {
	pool.Pool
	alive func()
}

// did calls alive unless there was an error, and returns that.
func (w *watched) did(err error) error {
	if err == nil {
		w.alive()
	}
	return err
}

func (w *watched) Create(ctx context.Context, name string, room int64, proof pool.ReplaceProof) (pool.Draft, error) {
	d, err := w.Pool.Create(pool.WithProgress(ctx, w.alive), name, room, proof)
	if w.did(err) != nil {
		return nil, err
	}
	return draft{d, w}, nil
}

func (w *watched) Open(ctx context.Context, name string) (pool.Image, error) {
	return w.image(w.Pool.Open(ctx, name))
}

func (w *watched) OpenMapped(ctx context.Context, name string) (pool.Image, error) {
	return w.image(w.Pool.OpenMapped(ctx, name))
}

func (w *watched) image(i pool.Image, err error) (pool.Image, error) {
	if w.did(err) != nil {
		return nil, err
	}
	return image{i, w}, nil
}

func (w *watched) Edit(ctx context.Context, name string, proof pool.Proof) (pool.Editor, error) {
	e, err := w.Pool.Edit(pool.WithProgress(ctx, w.alive), name, proof)
	if w.did(err) != nil {
		return nil, err
	}
	return editor{e, w}, nil
}

func (w *watched) Reserve(ctx context.Context, name string) error {
	return w.did(w.Pool.Reserve(ctx, name))
}

func (w *watched) Unreserve(ctx context.Context, name string) error {
	return w.did(w.Pool.Unreserve(ctx, name))
}

func (w *watched) Map(ctx context.Context, name string) error {
	return w.did(w.Pool.Map(ctx, name))
}

type draft struct {
	pool.Draft
	w *watched
}

func (d draft) WriteAt(b []byte, off int64) (int, error) {
	n, err := d.Draft.WriteAt(b, off)
	return n, d.w.did(err)
}

func (d draft) Commit(ctx context.Context) error {
	return d.w.did(d.Draft.Commit(pool.WithProgress(ctx, d.w.alive)))
}

func (d draft) Open(ctx context.Context) (pool.Image, error) { return d.w.image(d.Draft.Open(ctx)) }

type image struct {
	pool.Image
	w *watched
}

func (i image) ReadAt(b []byte, off int64) (int, error) {
	n, err := i.Image.ReadAt(b, off)
	return n, i.w.did(err)
}

type editor struct {
	pool.Editor
	w *watched
}

func (e editor) ReadAt(b []byte, off int64) (int, error) {
	n, err := e.Editor.ReadAt(b, off)
	return n, e.w.did(err)
}

func (e editor) WriteAt(b []byte, off int64) (int, error) {
	n, err := e.Editor.WriteAt(b, off)
	return n, e.w.did(err)
}

func (e editor) Flush() error { return e.w.did(e.Editor.Flush()) }

func (e editor) Commit(ctx context.Context) error {
	return e.w.did(e.Editor.Commit(pool.WithProgress(ctx, e.w.alive)))
}
