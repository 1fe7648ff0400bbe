// SPDX-License-Identifier: GPL-3.0-or-later

package model

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"winery/pool"
	"winery/shard"
	"winery/sharedbase"
	"winery/test/expect"
)

// RunUntilIdle lets every role work until no work is left. Then every image has the
// objects that are present, no byte of another one, and another step of any role
// changes nothing.
func (w *world) RunUntilIdle(t *rapid.T) {
	w.Reclaim(t)
	w.inProcess(none, 0, func(ctx context.Context, p *process) error {
		roles := []step{p.packer(), p.mapper(), p.cleaner()}
		for idle := 0; idle < len(roles); {
			worked, err := roles[0](ctx)
			if err != nil {
				return err
			}
			if idle++; worked {
				idle = 0
			}
			roles = append(roles[1:], roles[0])
		}
		before := w.everything()
		for _, role := range roles {
			if worked, err := role(ctx); worked || err != nil {
				return fmt.Errorf("a step without work: worked %v, %w", worked, err)
			}
		}
		if after := w.everything(); after != before {
			return fmt.Errorf("a step without work changed something:\n%s\n%s", before, after)
		}
		return nil
	})
	if marked := w.marked(); len(marked) > 0 {
		w.Fatalf("there is work left: %v", marked)
	}
	at := w.where()
	for _, s := range w.shards(sharedbase.StatePacked, sharedbase.StateReadOnly) {
		if s.State != sharedbase.StateReadOnly {
			w.Fatalf("shard %s is %s", s.Name, s.State)
		}
		w.image(s, func(r *shard.Reader, _ pool.Image) {
			_, err := r.Verify(w.Context(), nil) // that what was erased is zeros, too
			expect.NoError(w, err)
			for id, err := range r.Keys(w.Context()) {
				expect.NoError(w, err)
				if at[id].ShardID != s.ID && !w.twice[placed{s.Name, id}] {
					w.Fatalf("image %s still has object %x", s.Name, id)
				}
			}
		})
	}
}

// everything is what there is, in the database and in the pools.
func (w *world) everything() string {
	w.Helper()
	var all strings.Builder
	fmt.Fprintln(&all, w.where(), w.marked())
	for _, s := range w.shards() {
		fmt.Fprintln(&all, s)
		if s.State.ImageAvailable() {
			sum := sha256.New()
			w.image(s, func(r *shard.Reader, img pool.Image) {
				_, err := io.Copy(sum, io.NewSectionReader(img, 0, r.Info().Size))
				expect.NoError(w, err)
			})
			fmt.Fprintf(&all, "%x\n", sum.Sum(nil))
		}
	}
	for _, name := range w.names {
		images, err := w.stores[name].List(w.Context())
		expect.NoError(w, err)
		fmt.Fprintln(&all, name, slices.Sorted(slices.Values(images)))
	}
	return all.String()
}
