// SPDX-License-Identifier: GPL-3.0-or-later

package pooltest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"winery/pool"
	"winery/test/expect"
)

func abortedLeavesNothing(t *testing.T, p pool.Pool) {
	d := create(t, p, "one")
	writeAt(t, d, pattern(1, int(min(d.Size(), 12*mib))), 0)
	expect.NoError(t, d.Abort(t.Context()))
	if img, err := p.Open(t.Context(), "one"); err == nil {
		sameBytes(t, img, nil)
		expect.NoError(t, img.Close())
	} else {
		wantErr(t, "Open", err, pool.ErrNotFound)
	}

	want := pattern(2, 1000)
	finished(t, p, "one", want)
	wantContent(t, p, "one", want)
}

// roomIsAsked: a pool that has no room for a shard says so before anything is
// written, and leaves nothing.
func roomIsAsked(t *testing.T, p pool.Pool) {
	const room = 1 << 60
	d, err := p.Create(t.Context(), "one", room, Anything{})
	if err == nil {
		expect.NoError(t, d.Abort(t.Context()))
	}
	wantErr(t, "Create", err, pool.ErrFull)
	if !strings.Contains(fmt.Sprint(err), fmt.Sprintf("%d bytes are needed, ", room)) {
		t.Errorf("the error does not say how many bytes are needed: %v", err)
	}
	wantList(t, p)
	space, err := p.Space(t.Context())
	expect.NoError(t, err)
	if space != pool.Unlimited && (space.Free <= 0 || space.Free >= room || space.Total < space.Free) {
		t.Errorf("the pool has the space %+v", space)
	}
}

// createReplacesCommitted: a packer may die between commit and its record.
func createReplacesCommitted(t *testing.T, p pool.Pool) {
	finished(t, p, "one", pattern(1, 5*mib+77))
	expect.NoError(t, p.Map(t.Context(), "one"))
	expect.NoError(t, p.Unmap(t.Context(), "one"))
	want := pattern(2, 1000)
	finished(t, p, "one", want)
	wantContent(t, p, "one", want)
}

// draftsDoNotMix: a pool may refuse the second draft or let the first commit
// win, but what is committed is one of the two, whole.
func draftsDoNotMix(t *testing.T, p pool.Pool) {
	first, second := pattern(1, 2*mib), pattern(2, mib)
	d1 := create(t, p, "one")
	writeAt(t, d1, first[:mib], 0)
	d2, err := p.Create(t.Context(), "one", 0, Anything{})
	if err != nil {
		wantErr(t, "second Create", err, pool.ErrInUse)
		writeAt(t, d1, first[mib:], mib)
		expect.NoError(t, d1.Commit(t.Context()))
		wantContent(t, p, "one", first)
		return
	}
	writeAt(t, d2, second, 0)
	writeAt(t, d1, first[mib:], mib)
	expect.NoError(t, d2.Commit(t.Context()))
	wantErr(t, "second Commit", d1.Commit(t.Context()), pool.ErrExists)
	expect.NoError(t, d1.Abort(t.Context()))
	wantContent(t, p, "one", second)
}

func draftEndsOnce(t *testing.T, p pool.Pool) {
	want := pattern(1, 1000)
	d := create(t, p, "one")
	writeAt(t, d, want, 0)
	expect.NoError(t, d.Commit(t.Context()))
	if err := d.Commit(t.Context()); err == nil {
		t.Error("a second Commit succeeded")
	}
	expect.NoError(t, d.Abort(t.Context()))
	wantContent(t, p, "one", want)

	d = create(t, p, "two")
	expect.NoError(t, d.Abort(t.Context()))
	expect.NoError(t, d.Abort(t.Context()))
	if err := d.Commit(t.Context()); err == nil {
		t.Error("Commit after Abort succeeded")
	}
}

// draftIsReadBack: what is read of a draft is what Commit then makes visible.
func draftIsReadBack(t *testing.T, p pool.Pool) {
	want := pattern(1, 3*mib+5)
	d := create(t, p, "one")
	writeAt(t, d, want, 0)
	img, err := d.Open(t.Context())
	expect.NoError(t, err)
	sameBytes(t, img, want)
	expect.NoError(t, img.Close())
	expect.NoError(t, d.Commit(t.Context()))
	wantContent(t, p, "one", want)
	if _, err := d.Open(t.Context()); err == nil {
		t.Error("Open after Commit succeeded")
	}
}

func reserveThenCreate(t *testing.T, p pool.Pool) {
	for range 2 {
		expect.NoError(t, p.Reserve(t.Context(), "one"))
		expect.NoError(t, p.Unreserve(t.Context(), "one"))
	}
	want := pattern(1, 1000)
	finished(t, p, "one", want)
	expect.NoError(t, p.Reserve(t.Context(), "one"))
	wantContent(t, p, "one", want)
}

func mapAndUnmap(t *testing.T, p pool.Pool) {
	content := pattern(1, 1000)
	finished(t, p, "one", content)
	finished(t, p, "two", content)
	for range 2 {
		expect.NoError(t, p.Map(t.Context(), "one"))
		wantMapped(t, p, "one", true)
		sameBytes(t, opened(t, p.OpenMapped), content)
	}
	for range 2 {
		expect.NoError(t, p.Unmap(t.Context(), "two"))
		// In a pool where what exists is mapped, it stays so, both ways.
		img, err := p.OpenMapped(t.Context(), "two")
		if err == nil {
			expect.NoError(t, img.Close())
		} else {
			wantErr(t, "OpenMapped", err, pool.ErrNotMapped)
		}
		wantMapped(t, p, "two", err == nil)
	}
	wantMapped(t, p, "one", true)
}

func wantMapped(t *testing.T, p pool.Pool, name string, want bool) {
	t.Helper()
	mapped, err := p.Mapped(t.Context())
	expect.NoError(t, err)
	if mapped[name] != want {
		t.Errorf("Mapped()[%q] = %v, want %v", name, mapped[name], want)
	}
}

func listAndRemove(t *testing.T, p pool.Pool) {
	wantList(t, p)
	for _, name := range []string{"c", "a", "b"} {
		finished(t, p, name, pattern(1, 10))
	}
	wantList(t, p, "a", "b", "c")
	expect.NoError(t, p.Remove(t.Context(), "b", Anything{}))
	wantList(t, p, "a", "c")
	wantErr(t, "Remove again", p.Remove(t.Context(), "b", Anything{}), pool.ErrNotFound)
}

func wantList(t *testing.T, p pool.Pool, want ...string) {
	t.Helper()
	got, err := p.List(t.Context())
	expect.NoError(t, err)
	if !slices.Equal(got, want) {
		t.Errorf("List() = %q, want %q", got, want)
	}
}

// calls are all that take a name, each tidying up after a success.
func calls(p pool.Pool) map[string]func(ctx context.Context, name string) error {
	return map[string]func(ctx context.Context, name string) error{
		"Create": func(ctx context.Context, name string) error {
			d, err := p.Create(ctx, name, 0, Anything{})
			if err == nil {
				err = d.Abort(ctx)
			}
			return err
		},
		"Open":       func(ctx context.Context, name string) error { return openAndClose(p.Open(ctx, name)) },
		"OpenMapped": func(ctx context.Context, name string) error { return openAndClose(p.OpenMapped(ctx, name)) },
		"Edit": func(ctx context.Context, name string) error {
			e, err := p.Edit(ctx, name, Anything{})
			if err == nil {
				err = e.Close()
			}
			return err
		},
		"Reserve":   p.Reserve,
		"Unreserve": p.Unreserve,
		"Map":       p.Map,
		"Unmap":     p.Unmap,
		"Remove":    func(ctx context.Context, name string) error { return p.Remove(ctx, name, Anything{}) },
	}
}

func openAndClose(img pool.Image, err error) error {
	if err != nil {
		return err
	}
	return img.Close()
}

func absent(t *testing.T, p pool.Pool) {
	for what, want := range map[string]error{
		"Open":       pool.ErrNotFound,
		"OpenMapped": pool.ErrNotMapped,
		"Edit":       pool.ErrNotFound,
		"Map":        pool.ErrNotFound,
		"Unmap":      nil,
		"Unreserve":  nil,
		"Remove":     pool.ErrNotFound,
	} {
		wantErr(t, what, calls(p)[what](t.Context(), "nothing"), want)
	}
	wantList(t, p)
}

func badNames(t *testing.T, p pool.Pool) {
	finished(t, p, "one", pattern(1, 10))
	for _, name := range []string{"", ".", "..", "../one", "a/b", "-a", "a b", "a.tmp", "a@b", "a\x00", "é", string(pattern(1, 65))} {
		for what, call := range calls(p) {
			wantErr(t, fmt.Sprintf("%s(%q)", what, name), call(t.Context(), name), pool.ErrName)
		}
	}
	wantList(t, p, "one")
}

func endedContext(t *testing.T, p pool.Pool) {
	content := pattern(1, 1000)
	finished(t, p, "one", content)
	d := create(t, p, "two")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for what, call := range calls(p) {
		wantErr(t, what, call(ctx, "one"), context.Canceled)
	}
	_, err := p.List(ctx)
	wantErr(t, "List", err, context.Canceled)
	_, err = p.Mapped(ctx)
	wantErr(t, "Mapped", err, context.Canceled)
	wantErr(t, "Init", p.Init(ctx), context.Canceled)
	_, err = p.Marker(ctx)
	wantErr(t, "Marker", err, context.Canceled)
	wantErr(t, "SetMarker", p.SetMarker(ctx, []byte("x"), false), context.Canceled)
	wantErr(t, "Commit", d.Commit(ctx), context.Canceled)
	_, err = d.Open(ctx)
	wantErr(t, "Open of a draft", err, context.Canceled)
	expect.NoError(t, d.Abort(ctx))

	wantContent(t, p, "one", content)
	finished(t, p, "two", content)
	wantContent(t, p, "two", content)
}

func manyAtOnce(t *testing.T, p pool.Pool) {
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			if err := packAndRead(t, p, fmt.Sprintf("image-%d", i), pattern(uint64(i), 100_000)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	mapped, err := p.Mapped(t.Context())
	expect.NoError(t, err)
	if len(mapped) != 6 {
		t.Errorf("%d images are mapped, want 6", len(mapped))
	}
}

func packAndRead(t *testing.T, p pool.Pool, name string, content []byte) error {
	ctx := t.Context()
	d, err := p.Create(ctx, name, 0, Anything{})
	if err != nil {
		return err
	}
	_, werr := d.WriteAt(content, 0)
	err = errors.Join(werr, d.Commit(ctx), d.Abort(ctx), p.Map(ctx, name))
	if err != nil {
		return err
	}
	img, err := p.OpenMapped(ctx, name)
	if err != nil {
		return err
	}
	defer img.Close()
	got := make([]byte, len(content))
	if _, err := img.ReadAt(got, 0); err != nil {
		return err
	}
	if string(got) != string(content) {
		return fmt.Errorf("%s: not the bytes that were written", name)
	}
	return nil
}
