// SPDX-License-Identifier: GPL-3.0-or-later

package objects

import (
	"container/list"
	"context"
	"errors"
	"sync"

	"winery/internal/httpapi"
	"winery/internal/httpapi/rpc"
)

// verified keeps objects of which parts are read. To verify an object the whole
// object must be read, but not a thousand times for a client that reads it in a
// thousand parts: requests for the same object share it, and it stays in memory
// until other answers need the memory.
type verified struct {
	memory *httpapi.Memory
	read   func(ctx context.Context, id [32]byte, admit rpc.Admit) ([]byte, error)

	mu      sync.Mutex
	objects map[[32]byte]*object
	unused  list.List // of *object, the one used last at the front
}

type object struct {
	id      [32]byte
	ready   chan struct{} // closed once content or err is there
	content []byte
	err     error
	charge  *httpapi.Charge
	// Of err, for the requests that waited for the one that read the object:
	ended   bool   // it ended or panicked
	refused bool   // it got no memory
	peer    string // its client, whose share of the memory may be the reason

	// Guarded by verified.mu:
	users int
	place *list.Element // in unused
}

func newVerified(memory *httpapi.Memory, store Store) *verified {
	v := &verified{memory: memory, read: store.Get, objects: make(map[[32]byte]*object)}
	memory.ReclaimFrom(v.evict)
	return v
}

// get returns an object. The caller calls release once it has no use for the content.
func (v *verified) get(ctx context.Context, id [32]byte) (content []byte, release func(), err error) {
	for {
		o, first := v.acquire(ctx, id)
		if first {
			v.load(ctx, o)
		}
		select {
		case <-o.ready:
		case <-ctx.Done():
			v.release(o)
			return nil, nil, ctx.Err()
		}
		if o.err == nil {
			return o.content, func() { v.release(o) }, nil
		}
		v.release(o)
		if first || !o.ended && (!o.refused || o.peer == httpapi.OriginOf(ctx).Peer()) {
			return nil, nil, o.err
		}
	}
}

// acquire returns the object, and whether the caller is to load it.
func (v *verified) acquire(ctx context.Context, id [32]byte) (o *object, first bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if o = v.objects[id]; o == nil {
		o, first = &object{id: id, ready: make(chan struct{}), charge: v.memory.NewCharge()}, true
		v.objects[id] = o
	}
	if o.place != nil {
		v.unused.Remove(o.place)
		o.place = nil
		o.charge.Assign(ctx)
	}
	o.users++
	return o, first
}

func (v *verified) load(ctx context.Context, o *object) {
	o.err, o.peer = errPanic, httpapi.OriginOf(ctx).Peer()
	defer func() {
		o.ended = o.err == errPanic || ctx.Err() != nil //nolint:errorlint // which nothing wraps
		if o.err != nil {
			v.mu.Lock()
			delete(v.objects, o.id)
			v.mu.Unlock()
		}
		close(o.ready)
		if o.err == errPanic { //nolint:errorlint // the caller does not return
			v.release(o)
		}
	}()
	o.content, o.err = v.read(ctx, o.id, func(bytes int64) error {
		err := o.charge.Reach(ctx, bytes)
		o.refused = err != nil
		return err
	})
}

// errPanic is what other requests for the object get while a panic ends the one that reads it.
var errPanic = errors.New("reading the object panicked")

// release keeps an object that is charged; others are small.
func (v *verified) release(o *object) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if o.users--; o.users > 0 {
		return
	}
	if o.err == nil && o.charge.Bytes() > 0 {
		o.place = v.unused.PushFront(o)
		o.charge.Assign(context.Background()) // what is in reserve limits no client
		v.memory.Changed()
		return
	}
	if o.err == nil {
		delete(v.objects, o.id)
	}
	o.charge.Release()
}

// evict removes the object that is unused for the longest time.
func (v *verified) evict() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	last := v.unused.Back()
	if last == nil {
		return false
	}
	o := v.unused.Remove(last).(*object)
	delete(v.objects, o.id)
	o.charge.Release()
	return true
}
