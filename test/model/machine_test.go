// SPDX-License-Identifier: GPL-3.0-or-later

package model

import (
	"errors"
	"slices"

	"pgregory.net/rapid"

	"winery/sharedbase"
	"winery/test/expect"
)

// Add stores some objects, some of them perhaps more than once: together, or one
// by one in another order, which is the same to the model.
func (w *world) Add(t *rapid.T) {
	objects := some(t)
	w.startWriter()
	if rapid.Bool().Draw(t, "together") {
		w.add(objects)
	} else {
		numbers := make([]int, len(objects))
		for i := range numbers {
			numbers[i] = i
		}
		for _, i := range rapid.Permutation(numbers).Draw(t, "order") {
			w.add(objects[i : i+1])
		}
	}
	w.waitUntilMarkedFull()
}

func (w *world) add(objects []sharedbase.Object) {
	w.Helper()
	want := sharedbase.Added{New: make([]bool, len(objects))}
	for i, o := range objects {
		if !w.present[o.ID] {
			w.present[o.ID], want.New[i] = true, true
			want.Objects++
			want.Bytes += int64(len(o.Content))
		}
	}
	got, err := w.writer.Add(w.Context(), objects)
	expect.NoError(w, err)
	if !slices.Equal(got.New, want.New) || got.Objects != want.Objects || got.Bytes != want.Bytes {
		w.Fatalf("added %+v, want %+v", got, want)
	}
}

// waitUntilMarkedFull waits until the writer has marked its shard full where it is:
// the writer answers before that.
func (w *world) waitUntilMarkedFull() {
	shards := w.shards(sharedbase.StateWriting)
	leases, err := w.base.Leases(w.Context())
	expect.NoError(w, err)
	for _, s := range shards {
		if leases[s.Locker].Role != writerName {
			continue // of a process that ended, and marks nothing
		}
		for {
			_, size, err := w.base.TableSize(w.Context(), s.Name)
			expect.NoError(w, err)
			s, err := w.base.ShardByID(w.Context(), s.ID)
			expect.NoError(w, err)
			if size < fullAt || s.State != sharedbase.StateWriting {
				break
			}
		}
	}
}

// Delete deletes an object, which may be absent.
func (w *world) Delete(t *rapid.T) {
	o := one(t)
	err := w.base.Delete(t.Context(), o.ID)
	if w.present[o.ID] {
		expect.NoError(w, err)
	} else if !errors.Is(err, sharedbase.ErrNotFound) {
		w.Fatalf("deleting what is absent: %v", err)
	}
	delete(w.present, o.ID)
}

// Read asks for objects in any order, some of them perhaps more than once.
func (w *world) Read(t *rapid.T) {
	objects := some(t)
	wanted := make([]sharedbase.ObjID, len(objects))
	for i, o := range objects {
		wanted[i] = o.ID
	}
	got, err := w.reader.GetBatch(t.Context(), wanted, nil)
	expect.NoError(w, err)
	for i, o := range objects {
		if found := got[i].Err == nil; found != w.present[o.ID] || found && string(got[i].Content) != string(o.Content) {
			w.Fatalf("object %d of the batch: %d bytes, %v; it is present: %v", i, len(got[i].Content), got[i].Err, w.present[o.ID])
		}
	}
}

// List lists a page.
func (w *world) List(t *rapid.T) {
	after, limit := one(t).ID, rapid.IntRange(0, len(universe)).Draw(t, "limit")
	got, err := w.base.ListObjects(t.Context(), after, limit)
	expect.NoError(w, err)
	var want []sharedbase.ObjID
	for id := range w.present {
		if compareIDs(id, after) > 0 {
			want = append(want, id)
		}
	}
	slices.SortFunc(want, compareIDs)
	if want = want[:min(limit, len(want))]; !slices.Equal(got, want) {
		w.Fatalf("listed %x, want %x", got, want)
	}
}

// Fill marks a shard full, be it empty.
func (w *world) Fill(t *rapid.T) {
	w.stopWriter()
	claim, err := w.base.LockWritingShard(t.Context(), w.active)
	expect.NoError(w, err)
	expect.NoError(w, claim.SetState(t.Context(), sharedbase.StateFull))
}

// RestartReader closes every image.
func (w *world) RestartReader(*rapid.T) {
	w.reader.Close()
	w.openReader()
}

// StopWriter has the writer give its shard back, or die with it.
func (w *world) StopWriter(t *rapid.T) {
	if w.writer == nil {
		t.Skip("none runs")
	}
	if rapid.Bool().Draw(t, "dies") {
		w.writerBase.Close()
	}
	w.stopWriter()
}
