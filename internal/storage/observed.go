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
	end := func(done bool) {
		if done {
			alive()
		}
	}
	return s.Observed(func() func(bool) { return end })
}

// Observed returns the same pools, which call begin, from any goroutine, before each
// call of the store that reads, writes, maps or lists images, and the end that begin
// returned when the call has returned: done says whether the store has completed an
// operation. It has not where the call failed, or closed an image. What a long call
// reports of its progress (see [pool.WithProgress]) is a call of its own, which has ended.
func (s Set) Observed(begin func() (end func(done bool))) Set {
	set := Set{}
	for name, p := range s {
		set[name] = &observed{p, begin}
	}
	return set
}

type observed struct {
	pool.Pool
	begin func() (end func(done bool))
}

// call begins a call, whose error, if any, goes through end.
func (o *observed) call() (end func(error) error) {
	ended := o.begin()
	return func(err error) error {
		ended(err == nil)
		return err
	}
}

// progress returns ctx for a call that may take long.
func (o *observed) progress(ctx context.Context) context.Context {
	return pool.WithProgress(ctx, func() { o.begin()(true) })
}

func (o *observed) Create(ctx context.Context, name string, room int64, proof pool.ReplaceProof) (pool.Draft, error) {
	end := o.call()
	d, err := o.Pool.Create(o.progress(ctx), name, room, proof)
	if end(err) != nil {
		return nil, err
	}
	return draft{d, o}, nil
}

func (o *observed) Open(ctx context.Context, name string) (pool.Image, error) {
	return o.open(func() (pool.Image, error) { return o.Pool.Open(ctx, name) })
}

func (o *observed) OpenMapped(ctx context.Context, name string) (pool.Image, error) {
	return o.open(func() (pool.Image, error) { return o.Pool.OpenMapped(ctx, name) })
}

func (o *observed) open(f func() (pool.Image, error)) (pool.Image, error) {
	end := o.call()
	i, err := f()
	if end(err) != nil {
		return nil, err
	}
	return image{i, o}, nil
}

func (o *observed) Edit(ctx context.Context, name string, proof pool.Proof) (pool.Editor, error) {
	end := o.call()
	e, err := o.Pool.Edit(o.progress(ctx), name, proof)
	if end(err) != nil {
		return nil, err
	}
	return editor{e, o}, nil
}

func (o *observed) Reserve(ctx context.Context, name string) error {
	end := o.call()
	return end(o.Pool.Reserve(ctx, name))
}

func (o *observed) Unreserve(ctx context.Context, name string) error {
	end := o.call()
	return end(o.Pool.Unreserve(ctx, name))
}

func (o *observed) Map(ctx context.Context, name string) error {
	end := o.call()
	return end(o.Pool.Map(ctx, name))
}

func (o *observed) Unmap(ctx context.Context, name string) error {
	end := o.call()
	return end(o.Pool.Unmap(ctx, name))
}

func (o *observed) Mapped(ctx context.Context) (map[string]bool, error) {
	end := o.call()
	names, err := o.Pool.Mapped(ctx)
	return names, end(err)
}

type draft struct {
	pool.Draft
	in *observed
}

func (d draft) WriteAt(b []byte, off int64) (int, error) {
	end := d.in.call()
	n, err := d.Draft.WriteAt(b, off)
	return n, end(err)
}

func (d draft) Commit(ctx context.Context) error {
	end := d.in.call()
	return end(d.Draft.Commit(d.in.progress(ctx)))
}

func (d draft) Open(ctx context.Context) (pool.Image, error) {
	return d.in.open(func() (pool.Image, error) { return d.Draft.Open(ctx) })
}

type image struct {
	pool.Image
	in *observed
}

func (i image) ReadAt(b []byte, off int64) (int, error) {
	end := i.in.call()
	n, err := i.Image.ReadAt(b, off)
	return n, end(err)
}

func (i image) Close() error {
	defer i.in.begin()(false)
	return i.Image.Close()
}

type editor struct {
	pool.Editor
	in *observed
}

func (e editor) ReadAt(b []byte, off int64) (int, error) {
	end := e.in.call()
	n, err := e.Editor.ReadAt(b, off)
	return n, end(err)
}

func (e editor) WriteAt(b []byte, off int64) (int, error) {
	end := e.in.call()
	n, err := e.Editor.WriteAt(b, off)
	return n, end(err)
}

func (e editor) Flush() error {
	end := e.in.call()
	return end(e.Editor.Flush())
}

func (e editor) Commit(ctx context.Context) error {
	end := e.in.call()
	return end(e.Editor.Commit(e.in.progress(ctx)))
}

func (e editor) Close() error {
	defer e.in.begin()(false)
	return e.Editor.Close()
}
