// SPDX-License-Identifier: GPL-3.0-or-later

package storage_test

import (
	"sync/atomic"
	"testing"

	"winery/internal/config"
	"winery/internal/storage"
	"winery/pool/pooltest"
)

// Each thing that a store does is a sign of life, and nothing else is.
func TestWatched(t *testing.T) {
	set, err := storage.Open([]config.Pool{{Type: config.Directory, Name: "files", BaseDirectory: t.TempDir(), UsePermissions: true}}, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := set["files"].Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	var signs atomic.Int64
	p := set.Watched(func() { signs.Add(1) })["files"]
	ctx, content := t.Context(), []byte("content")
	sign := func(what string, want int64, err error) {
		t.Helper()
		if got := signs.Swap(0); (err == nil) != (want > 0) || got != want {
			t.Fatalf("%s: %d signs of life, want %d; %v", what, got, want, err)
		}
	}
	_, err = p.Open(ctx, "image")
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
}
