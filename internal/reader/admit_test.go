// SPDX-License-Identifier: GPL-3.0-or-later

package reader_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"winery/internal/reader"
	"winery/sharedbase"
)

func admitAll(int64) error { return nil }

// TestAdmitAfterFailures: objects whose sizes could not be read are not read either,
// even if the pool answers again.
func TestAdmitAfterFailures(t *testing.T) {
	f := newFixture(t)
	r := f.reader(10)
	all := []sharedbase.Object{object("small"), object(strings.Repeat("large", 1<<20))}
	inTable := object(strings.Repeat("in a table", 1<<20))
	f.readOnly(all...)
	f.write(inTable)
	f.pool.failReads(syscall.EIO)
	admitted, read := int64(0), int64(0)
	found, err := r.GetBatch(t.Context(), idsOf(append(all, inTable)), func(bytes int64) error {
		admitted = bytes
		f.pool.failReads(nil)
		return nil
	})
	f.must(err)
	for i, o := range found {
		read += int64(len(o.Content))
		if i < len(all) && !errors.Is(o.Err, syscall.EIO) {
			t.Errorf("object %d: %d bytes, %v", i, len(o.Content), o.Err)
		}
	}
	if want := int64(len(inTable.Content)); admitted != want || read != want {
		t.Errorf("admitted %d bytes and read %d, want %d", admitted, read, want)
	}
}

// TestBatchLargerThanMemory: a batch that was admitted waits for its own objects.
func TestBatchLargerThanMemory(t *testing.T) {
	f := newFixture(t)
	o := f.options(10)
	o.Memory = 200 << 10
	r := f.readerWith(o)
	var all []sharedbase.Object
	for i := range 50 {
		all = append(all, object(fmt.Sprint(i, strings.Repeat("x", 100<<10))))
	}
	all = append(all, object(strings.Repeat("larger than the memory", 20<<10)))
	f.readOnly(all...)
	sameBatch(t, r, all)
}

// TestAdmit holds that a reader asks before it reads a large object, and for a
// batch by the sum of the sizes, wherever the objects are.
func TestAdmit(t *testing.T) {
	for name, place := range map[string]func(f *fixture, all []sharedbase.Object){
		"table": func(f *fixture, all []sharedbase.Object) { f.write(all...) },
		"both":  func(f *fixture, all []sharedbase.Object) { f.pack(f.write(all...)) },
		"image": func(f *fixture, all []sharedbase.Object) { f.readOnly(all...) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			r := f.reader(10)
			all := []sharedbase.Object{
				object(""), object("small"), object(strings.Repeat("32 KiB..", 4<<10)),
				object(strings.Repeat("32 KiB..", 4<<10) + "!"), object(strings.Repeat("large", 1<<20)),
			}
			place(f, all)
			sum := int64(0)
			for i, o := range all {
				n := int64(len(o.Content))
				sum += n
				if got, err := r.Size(t.Context(), o.ID); got != n || err != nil {
					t.Errorf("Size of %d bytes: %d, %v", n, got, err)
				}
				var asked []int64
				got, err := r.Get(t.Context(), o.ID, func(bytes int64) error { asked = append(asked, bytes); return nil })
				if err != nil || !bytes.Equal(got, o.Content) {
					t.Errorf("%d of %d bytes, %v", len(got), n, err)
				}
				if i < 3 && len(asked) > 0 || i >= 3 && !slices.Equal(asked, []int64{n}) {
					t.Errorf("for %d bytes it asked for %d", n, asked)
				}
			}
			ids := append(idsOf(all), object("missing").ID)
			var asked []int64
			found, err := r.GetBatch(t.Context(), ids, func(bytes int64) error { asked = append(asked, bytes); return nil })
			f.must(err)
			if !slices.Equal(asked, []int64{sum}) || !errors.Is(found[5].Err, reader.ErrNotFound) || !bytes.Equal(found[4].Content, all[4].Content) {
				t.Errorf("for %d bytes it asked for %d; %v", sum, asked, found[5].Err)
			}

			refused := errors.New("no memory")
			refuse := func(int64) error { return refused }
			if got, err := r.Get(t.Context(), all[4].ID, refuse); got != nil || !errors.Is(err, refused) {
				t.Errorf("refused: %d bytes, %v", len(got), err)
			}
			if found, err := r.GetBatch(t.Context(), ids, refuse); found != nil || !errors.Is(err, refused) {
				t.Errorf("refused: %v, %v", found, err)
			}
			if _, err := r.Size(t.Context(), object("missing").ID); !errors.Is(err, reader.ErrNotFound) {
				t.Errorf("Size of a missing object: %v", err)
			}
		})
	}
}
