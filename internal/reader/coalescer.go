// SPDX-License-Identifier: GPL-3.0-or-later

package reader

import (
	"context"
	"slices"
	"sync"
	"time"
)

// coalescer combines all lookups that wait at the same moment into one call. A
// lookup starts at once if a round is free; otherwise it waits for the next
// round, together with all lookups that arrive until then. The busier the
// database, the larger the rounds: a lookup becomes cheaper under load.
//
// Lookups are kept apart by group: one call is about one group only.
type coalescer[G comparable, K, V any] struct {
	// call answers keys with as many values in the same order. All callers whose
	// keys were in the call get its error.
	call    func(ctx context.Context, group G, keys []K) ([]V, error)
	maxKeys int // keys in a call, unless a single lookup has more

	mu     sync.Mutex
	depth  *depth                 // of calls in flight at once, per group
	groups map[G]*gathering[K, V] // only groups with lookups in flight
}

// gathering is a group's lookups that wait, and the number of its goroutines.
type gathering[K, V any] struct {
	waiting  []*lookup[K, V]
	rounds   int
	inFlight int // keys in rounds
}

type lookup[K, V any] struct {
	keys   []K
	round  *round // nil while waiting; guarded by coalescer.mu
	values []V
	err    error
	done   chan struct{} // closed once values or err are there
}

// round is a call in flight. A caller whose context ends does not disturb the
// others; the call is cancelled when the contexts of all callers have ended.
type round struct {
	callers int // guarded by coalescer.mu
	cancel  context.CancelFunc
}

func newCoalescer[G comparable, K, V any](d *depth, maxKeys int, call func(context.Context, G, []K) ([]V, error)) *coalescer[G, K, V] {
	return &coalescer[G, K, V]{call: call, depth: d, maxKeys: maxKeys, groups: make(map[G]*gathering[K, V])}
}

// do answers keys, in order. It keeps keys until the call is over, which may
// be after do has returned because ctx ended.
func (c *coalescer[G, K, V]) do(ctx context.Context, group G, keys []K) ([]V, error) {
	if len(keys) == 0 || ctx.Err() != nil {
		return nil, ctx.Err()
	}
	l := &lookup[K, V]{keys: keys, done: make(chan struct{})}
	c.mu.Lock()
	g := c.groups[group]
	if g == nil {
		g = new(gathering[K, V])
		c.groups[group] = g
	}
	g.waiting = append(g.waiting, l)
	c.start(group, g)
	c.mu.Unlock()

	select {
	case <-l.done:
		return l.values, l.err
	case <-ctx.Done():
		c.giveUp(g, l)
		return nil, ctx.Err()
	}
}

func (c *coalescer[G, K, V]) giveUp(g *gathering[K, V], l *lookup[K, V]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l.round == nil {
		g.waiting = slices.DeleteFunc(g.waiting, func(w *lookup[K, V]) bool { return w == l })
	} else if l.round.callers--; l.round.callers == 0 {
		l.round.cancel()
	}
}

// start starts a goroutine that serves, unless enough do. It needs c.mu.
func (c *coalescer[G, K, V]) start(group G, g *gathering[K, V]) {
	if g.rounds < c.depth.rounds {
		g.rounds++
		go c.serve(group, g)
	}
}

// serve runs rounds until none waits, or more serve than should.
func (c *coalescer[G, K, V]) serve(group G, g *gathering[K, V]) {
	for {
		ctx, cancel := context.WithCancel(context.Background())
		c.mu.Lock()
		var lookups []*lookup[K, V]
		n := 0
		if g.rounds <= c.depth.rounds {
			lookups, n = g.take(c.share(g), cancel)
		}
		if n == 0 {
			if g.rounds--; g.rounds == 0 {
				delete(c.groups, group)
			}
			c.mu.Unlock()
			cancel()
			return
		}
		c.mu.Unlock()

		keys := make([]K, 0, n)
		for _, l := range lookups {
			keys = append(keys, l.keys...)
		}
		values, err := c.call(ctx, group, keys)
		cancel()
		c.mu.Lock()
		g.inFlight -= n
		c.depth.ended(time.Now(), n, len(g.waiting) > 0)
		if len(g.waiting) > 0 {
			c.start(group, g)
		}
		c.mu.Unlock()
		for _, l := range lookups {
			if l.err = err; err == nil {
				l.values, values = values[:len(l.keys):len(l.keys)], values[len(l.keys):]
			}
			close(l.done)
		}
	}
}

// share is how many keys a round takes: all that wait while rounds are few, else its
// part of those that wait or are in flight. It needs c.mu.
func (c *coalescer[G, K, V]) share(g *gathering[K, V]) int {
	if c.depth.rounds == c.depth.minimum {
		return c.maxKeys
	}
	keys := g.inFlight
	for _, l := range g.waiting {
		keys += len(l.keys)
	}
	return min(c.maxKeys, (keys+c.depth.rounds-1)/c.depth.rounds)
}

// take moves waiting lookups into a round: as many as have at most most keys
// together, but at least one. n is the number of their keys.
func (g *gathering[K, V]) take(maxKeys int, cancel context.CancelFunc) (lookups []*lookup[K, V], n int) {
	r := &round{cancel: cancel}
	for _, l := range g.waiting {
		if r.callers > 0 && n+len(l.keys) > maxKeys {
			break
		}
		l.round = r
		r.callers++
		n += len(l.keys)
	}
	g.inFlight += n
	lookups = slices.Clone(g.waiting[:r.callers])
	g.waiting = slices.Delete(g.waiting, 0, r.callers)
	return lookups, n
}
