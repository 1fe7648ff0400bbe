// SPDX-License-Identifier: GPL-3.0-or-later

package storage_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"winery/internal/config"
	"winery/internal/storage"
	"winery/pool"
	"winery/pool/pooltest"
	"winery/test/expect"
	"winery/test/roletest"
)

// Each thing that a store does is a sign of life, and nothing else is.
func TestWatched(t *testing.T) {
	var signs atomic.Int64
	p := storage.Set{"files": directoryPool(t)}.Watched(func() { signs.Add(1) })["files"]
	ctx, content := t.Context(), []byte("content")
	sign := func(what string, want int64, err error) {
		t.Helper()
		if got := signs.Swap(0); (err == nil) != (want > 0) || got != want {
			t.Fatalf("%s: %d signs of life, want %d; %v", what, got, want, err)
		}
	}
	_, err := p.Open(ctx, "image")
	sign("opening what is not there", 0, err)
	_, err = p.OpenMapped(ctx, "image")
	sign("opening what is not mapped", 0, err)
	_, err = p.Edit(ctx, "image", pooltest.Anything{})
	sign("editing what is not there", 0, err)
	sign("mapping what is not there", 0, p.Map(ctx, "image"))

	d, err := p.Create(ctx, "image", 100, pooltest.Anything{})
	sign("creating", 1, err)
	_, err = d.WriteAt(content, 0)
	sign("writing", 1, err)
	img, err := d.Open(ctx)
	sign("opening the draft", 1, err)
	_, err = img.ReadAt(content, 0)
	sign("reading", 1, err)
	_, err = img.ReadAt(content, 1)
	sign("reading past the end", 0, err)
	if err := img.Close(); err != nil {
		t.Fatal(err)
	}
	sign("committing", 1, d.Commit(ctx))
	sign("mapping", 1, p.Map(ctx, "image"))
	img, err = p.OpenMapped(ctx, "image")
	sign("opening", 1, err)
	if err := img.Close(); err != nil {
		t.Fatal(err)
	}
	e, err := p.Edit(ctx, "image", pooltest.Anything{})
	sign("editing", 1, err)
	_, err = e.WriteAt(content, 0)
	sign("erasing", 1, err)
	_, err = e.ReadAt(content, 0)
	sign("reading back", 1, err)
	sign("flushing", 1, e.Flush())
	sign("committing changes", 1, e.Commit(ctx))
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	sign("reserving", 1, p.Reserve(ctx, "another"))
	_, err = p.Mapped(ctx)
	sign("listing what is mapped", 1, err)
	sign("unmapping", 1, p.Unmap(ctx, "image"))
}

// A call has begun when the pool works on it, and has ended when it returns.
func TestObserved(t *testing.T) {
	files := directoryPool(t)
	d, err := files.Create(t.Context(), "image", 100, pooltest.Anything{})
	expect.NoError(t, err)
	_, err = d.WriteAt([]byte("content"), 0)
	expect.NoError(t, err)
	expect.NoError(t, d.Commit(t.Context()))
	var events []string
	hooked := &roletest.Hooked{Pool: files, At: func(p roletest.Point, _ string) error {
		if _, after := p.After(); !after {
			events = append(events, string(p))
		}
		return nil
	}}
	p := storage.Set{"files": hooked}.Observed(func() func(bool) {
		events = append(events, "begin")
		return func(done bool) { events = append(events, fmt.Sprint("end ", done)) }
	})["files"]
	want := func(want ...string) {
		t.Helper()
		if !slices.Equal(events, want) {
			t.Fatalf("events are %q, want %q", events, want)
		}
		events = nil
	}
	ctx := t.Context()
	if _, err := p.Open(ctx, "absent"); err == nil {
		t.Fatal("opened what is not there")
	}
	want("begin", "open", "end false")
	expect.NoError(t, p.Map(ctx, "image"))
	want("begin", "map", "end true")
	_, err = p.Mapped(ctx)
	expect.NoError(t, err)
	want("begin", "list mapped", "end true")
	img, err := p.OpenMapped(ctx, "image")
	expect.NoError(t, err)
	want("begin", "open mapped", "end true")
	_, err = img.ReadAt(make([]byte, 1), 0)
	expect.NoError(t, err)
	want("begin", "read", "end true")
	expect.NoError(t, img.Close())
	want("begin", "close", "end false")
	expect.NoError(t, p.Unmap(ctx, "image"))
	want("begin", "end true")
	e, err := p.Edit(ctx, "image", pooltest.Anything{})
	expect.NoError(t, err)
	want("begin", "edit", "verify proof", "end true")
	expect.NoError(t, e.Close())
	want("begin", "close edit", "end false")
}

// long is a pool in which calls report their progress.
type long struct{ pool.Pool }

func (long) Edit(ctx context.Context, _ string, _ pool.Proof) (pool.Editor, error) {
	pool.Progressed(ctx)
	return nil, errors.New("it is not there")
}

// TestObservedTwice: all who observe the pools are told of the progress of a long call.
func TestObservedTwice(t *testing.T) {
	var watched, ended []bool
	p := storage.Set{"files": long{}}.Watched(func() { watched = append(watched, true) }).Observed(func() func(bool) {
		return func(done bool) { ended = append(ended, done) }
	})["files"]
	if _, err := p.Edit(t.Context(), "image", pooltest.Anything{}); err == nil {
		t.Fatal("edited what is not there")
	}
	if !slices.Equal(watched, []bool{true}) || !slices.Equal(ended, []bool{true, false}) {
		t.Errorf("signs of life %v, ends %v", watched, ended)
	}
}

// directoryPool opens a new directory pool.
func directoryPool(t *testing.T) pool.Pool {
	t.Helper()
	set, err := storage.Open([]config.Pool{{Type: config.Directory, Name: "files", BaseDirectory: t.TempDir(), UsePermissions: true}}, true)
	expect.NoError(t, err)
	expect.NoError(t, set["files"].Init(t.Context()))
	return set["files"]
}
