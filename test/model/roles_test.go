// SPDX-License-Identifier: GPL-3.0-or-later

package model

import (
	"bytes"
	"context"
	"errors"
	"strings"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"winery/format"
	"winery/internal/cleaner"
	"winery/internal/importer"
	"winery/internal/mapper"
	"winery/internal/migrator"
	"winery/internal/packer"
	"winery/pool/pooltest"
	"winery/shard"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/roletest"
)

type step = func(context.Context) (worked bool, err error)

// The roles of a process.
func (p *process) packer() step {
	return packer.New(packer.Options{Base: p.base, Pools: p.stores, Log: quiet}).Step
}

func (p *process) mapper() step {
	return mapper.New(mapper.Options{Base: p.base, Pools: p.stores, Host: host, Log: quiet}).Step
}

func (p *process) cleaner() step {
	return roletest.Clean(cleaner.New(cleaner.Options{Base: p.base, Pools: p.stores, MinMappedHosts: 1, Log: quiet}))
}

// draw chooses what happens to a process, and when: a step passes about a hundred
// points, of which a third are a pool's.
func draw(t *rapid.T) (fault, int) {
	f := rapid.SampledFrom([]fault{none, dies, stops, fails}).Draw(t, "fault")
	last := map[fault]int{none: 1, dies: 100, stops: 100, fails: 30}[f]
	return f, rapid.IntRange(1, last).Draw(t, "at point")
}

// takes takes one step of a role, which may go wrong.
func (w *world) takes(t *rapid.T, role func(*process) step) {
	f, nth := draw(t)
	w.inProcess(f, nth, func(ctx context.Context, p *process) error {
		_, err := role(p)(ctx)
		return err
	})
}

// Pack, Map and Clean take a step of a role.
func (w *world) Pack(t *rapid.T)  { w.takes(t, (*process).packer) }
func (w *world) Map(t *rapid.T)   { w.takes(t, (*process).mapper) }
func (w *world) Clean(t *rapid.T) { w.takes(t, (*process).cleaner) }

// Write adds objects as a writer that may die, and then all or none are there.
func (w *world) Write(t *rapid.T) {
	w.stopWriter()
	objects := some(t)
	var acknowledged bool
	f, nth := draw(t)
	w.inProcess(f, nth, func(ctx context.Context, p *process) error {
		claim, err := p.base.LockWritingShard(ctx, w.active)
		if err != nil {
			return err
		}
		if _, err = p.base.Add(ctx, claim, objects); err != nil {
			return err
		}
		acknowledged = true
		return claim.SetState(ctx, sharedbase.StateFull)
	})
	at := w.where()
	there, news := 0, map[sharedbase.ObjID]bool{}
	for _, o := range objects {
		if !w.present[o.ID] && !news[o.ID] {
			news[o.ID] = true
			if at[o.ID].ShardID != 0 {
				there++
			}
		}
	}
	if there != len(news) && (there != 0 || acknowledged) {
		w.Fatalf("%d of %d objects are there; acknowledged: %v", there, len(news), acknowledged)
	}
	for id := range news {
		if there > 0 {
			w.present[id] = true
		}
	}
}

// Migrate moves an image to the other pool.
func (w *world) Migrate(t *rapid.T) {
	moveable := w.shards(sharedbase.StateReadOnly)
	if len(moveable) == 0 {
		t.Skip("no image")
	}
	s := moveable[rapid.IntRange(0, len(moveable)-1).Draw(t, "shard")]
	to := w.names[0]
	if s.Pool == to {
		to = w.names[1]
	}
	_, claimed := w.imageLeases()[s.ID] // by a dead process
	f, nth := draw(t)
	w.inProcess(f, nth, func(ctx context.Context, p *process) error {
		_, err := (&migrator.Migrator{Base: p.base, From: p.stores[s.Pool], To: p.stores[to]}).Migrate(ctx, s.Name)
		if claimed && errors.Is(err, sharedbase.ErrImageClaimed) {
			return nil // not before the dead process's lease has run out
		}
		if half := new(format.DamageError); errors.As(err, &half) && w.erasing(s.Name) {
			return nil // a cleaner died over an object: not before another has erased it
		}
		return err
	})
	now, err := w.base.ShardByID(t.Context(), s.ID)
	expect.NoError(w, err)
	if now.Pool == to { // the operator removes the old image
		expect.NoError(w, w.stores[s.Pool].Remove(t.Context(), s.Name, pooltest.Anything{}))
	}
}

// Import makes a shard of an image from elsewhere.
func (w *world) Import(t *rapid.T) {
	pool := rapid.SampledFrom(w.names).Draw(t, "pool")
	objects := some(t)
	name := "i" + strings.ReplaceAll(uuid.NewString(), "-", "")[1:]
	keys := w.foreignImage(pool, name, objects)
	f, nth := draw(t)
	w.inProcess(f, nth, func(ctx context.Context, p *process) error {
		_, err := (&importer.Importer{Base: p.base}).Import(ctx, p.stores[pool], name)
		return err
	})
	for _, s := range w.shards() {
		for _, id := range keys {
			if s.Name == name && w.present[id] {
				w.twice[placed{name, id}] = true
			} else if s.Name == name {
				w.present[id] = true
			}
		}
	}
}

// foreignImage makes an image that the database knows nothing of, and returns
// what is in it.
func (w *world) foreignImage(pool, name string, objects []sharedbase.Object) (keys []sharedbase.ObjID) {
	draft, err := w.stores[pool].Create(w.Context(), name, 0, pooltest.Anything{})
	expect.NoError(w, err)
	in, err := shard.NewWriter(draft, draft.Size())
	expect.NoError(w, err)
	defer func() { expect.NoError(w, in.Close()) }()
	seen := map[sharedbase.ObjID]bool{}
	for _, o := range objects {
		if !seen[o.ID] {
			seen[o.ID], keys = true, append(keys, o.ID)
			expect.NoError(w, in.Add(o.ID, int64(len(o.Content)), bytes.NewReader(o.Content)))
		}
	}
	_, err = in.Finish()
	expect.NoError(w, err)
	expect.NoError(w, draft.Commit(w.Context()))
	return keys
}
