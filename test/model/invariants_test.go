// SPDX-License-Identifier: GPL-3.0-or-later

package model

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"

	"golang.org/x/sync/errgroup"
	"pgregory.net/rapid"

	"winery/format"
	"winery/internal/reader"
	"winery/pool"
	"winery/shard"
	"winery/sharedbase"
	"winery/test/expect"
)

// Check fails the test unless everything that can be read agrees with the model:
// the answers to readers, and the index, the tables and the images.
func (w *world) Check(*rapid.T) {
	w.Helper()
	quarantined, err := w.base.QuarantinedShards(w.Context())
	expect.NoError(w, err)
	if len(quarantined) > 0 {
		w.Fatalf("nothing is damaged, and quarantined are %+v", quarantined)
	}
	w.readersAgree()
	at, marked := w.where(), w.marked()
	var total int64
	for _, s := range w.shards() {
		here := func(id sharedbase.ObjID) bool { return at[id].ShardID == s.ID }
		n, err := w.base.CountObjects(w.Context(), s.Name)
		expect.NoError(w, err)
		total += n
		if s.State != sharedbase.StateReadOnly {
			w.tableAgrees(s, here)
		}
		if s.State.ImageAvailable() {
			w.imageAgrees(s, here, marked)
		}
	}
	if total != int64(len(w.present)) || len(at) != len(w.present) {
		w.Fatalf("%d objects are present, the index has %d of them, and counts %d", len(w.present), len(at), total)
	}
}

func (w *world) readersAgree() {
	w.Helper()
	ctx := w.Context()
	batch, err := w.reader.GetBatch(ctx, ids, nil)
	expect.NoError(w, err)
	var present []sharedbase.ObjID
	var group errgroup.Group // all at once, so that lookups are coalesced
	for i, o := range universe {
		if w.present[o.ID] {
			present = append(present, o.ID)
		}
		group.Go(func() error {
			has, err := w.reader.Contains(ctx, o.ID)
			if err != nil {
				return err
			}
			got, err := w.reader.Get(ctx, o.ID, nil)
			if w.present[o.ID] {
				if err != nil || !has || !bytes.Equal(got, o.Content) || batch[i].Err != nil || !bytes.Equal(batch[i].Content, o.Content) {
					return fmt.Errorf("object %d is present: contains %v, get %d bytes (%w), batch %d bytes", i, has, len(got), err, len(batch[i].Content))
				}
			} else if has || !errors.Is(err, reader.ErrNotFound) || !errors.Is(batch[i].Err, reader.ErrNotFound) {
				return fmt.Errorf("object %d is absent: contains %v, get %d bytes (%w), batch %d bytes", i, has, len(got), err, len(batch[i].Content))
			}
			return nil
		})
	}
	expect.NoError(w, group.Wait())
	slices.SortFunc(present, compareIDs)
	listed, err := w.base.ListObjects(ctx, sharedbase.ObjID{}, len(ids)+1)
	expect.NoError(w, err)
	if !slices.Equal(listed, present) {
		w.Fatalf("listed: %x\npresent: %x", listed, present)
	}
}

func compareIDs(a, b sharedbase.ObjID) int { return bytes.Compare(a[:], b[:]) }

// marked are the objects that are still to be erased from an image.
func (w *world) marked() map[placed]bool {
	w.Helper()
	marked := map[placed]bool{}
	shards, err := w.base.ShardsToErase(w.Context(), "")
	expect.NoError(w, err)
	for _, s := range shards {
		deleted, err := w.base.DeletedObjects(w.Context(), s.ID, len(universe))
		expect.NoError(w, err)
		for _, id := range deleted {
			marked[placed{s.Name, id}] = true
		}
	}
	return marked
}

// erasing reports whether any is to be erased from a shard's image.
func (w *world) erasing(name string) bool {
	for at := range w.marked() {
		if at.shard == name {
			return true
		}
	}
	return false
}

// tableAgrees requires of a table the objects that are there, and no others.
func (w *world) tableAgrees(s sharedbase.Shard, here func(sharedbase.ObjID) bool) {
	w.Helper()
	rows, err := w.base.Content(w.Context(), s.Name, ids, math.MaxInt64)
	expect.NoError(w, err)
	for i, o := range universe {
		if there := rows[i].Size >= 0; there != here(o.ID) || !bytes.Equal(rows[i].Bytes, o.Content) && there {
			w.Fatalf("object %d: %d bytes in the table of shard %s (%s); the index has it there: %v", i, rows[i].Size, s.Name, s.State, here(o.ID))
		}
	}
}

// imageAgrees requires of an image the objects that are there, and no others
// but those that are marked for erasing, and those that the image brought
// although another shard had them.
func (w *world) imageAgrees(s sharedbase.Shard, here func(sharedbase.ObjID) bool, marked map[placed]bool) {
	w.Helper()
	w.image(s, func(r *shard.Reader, _ pool.Image) {
		for i, o := range universe {
			at := placed{s.Name, o.ID}
			got, err := r.Get(o.ID)
			switch {
			case here(o.ID) && (err != nil || !bytes.Equal(got, o.Content)):
				w.Fatalf("object %d: %d bytes in image %s (%s): %v", i, len(got), s.Name, s.State, err)
			case !here(o.ID) && !marked[at] && !w.twice[at] && !errors.Is(err, format.ErrNotFound):
				w.Fatalf("object %d is in image %s (%s), and nothing will erase it there: %v", i, s.Name, s.State, err)
			}
		}
	})
}

// image reads a shard's image past the caches.
func (w *world) image(s sharedbase.Shard, read func(*shard.Reader, pool.Image)) {
	w.Helper()
	img, err := w.stores[s.Pool].Open(w.Context(), s.Name)
	expect.NoError(w, err)
	defer func() { expect.NoError(w, img.Close()) }()
	r, err := shard.Open(img, img.Size(), s.Name)
	expect.NoError(w, err)
	read(r, img)
}
