// SPDX-License-Identifier: GPL-3.0-or-later

package vm

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"winery/internal/httpapi/rpc/client"
)

// ledger is the list, kept outside of the machine, of what the writer in the
// machine has acknowledged. An object whose last request was not answered may
// exist or not; it is in neither map.
type ledger struct {
	mu      sync.Mutex
	stored  map[[32]byte]bool // an add was acknowledged, with no request since
	deleted map[[32]byte]bool // a deletion was acknowledged, with no request since
	acks    int               // acknowledged requests
	changed *sync.Cond        // acks grew
}

func newLedger() *ledger {
	l := &ledger{stored: map[[32]byte]bool{}, deleted: map[[32]byte]bool{}}
	l.changed = sync.NewCond(&l.mu)
	return l
}

// load sends requests by several clients until ctx ends: mostly adds of new
// objects, one by one and in batches, some deletions.
func (l *ledger) load(ctx context.Context, c *client.Client, seed uint64) {
	const clients = 4
	var all sync.WaitGroup
	for i := range uint64(clients) {
		all.Go(func() {
			random := rand.New(rand.NewPCG(seed, i))
			mine := [][32]byte{} // objects that only this client deletes
			for ctx.Err() == nil {
				if len(mine) > 0 && random.IntN(5) == 0 {
					l.remove(ctx, c, mine[len(mine)-1])
					mine = mine[:len(mine)-1]
					continue
				}
				batch := make([]client.Object, 1+random.IntN(2)*random.IntN(20))
				for j := range batch {
					batch[j] = randomObject(random)
				}
				if l.add(ctx, c, batch) {
					mine = append(mine, batch[0].ID)
				}
			}
		})
	}
	all.Wait()
}

// randomObject is empty at times, and larger than a page in most cases.
func randomObject(random *rand.Rand) client.Object {
	content := make([]byte, random.IntN(16<<10))
	for i := range content {
		content[i] = byte(random.Uint32())
	}
	return client.Object{ID: sha256.Sum256(content), Content: content}
}

func (l *ledger) add(ctx context.Context, c *client.Client, batch []client.Object) (acknowledged bool) {
	_, _, err := c.AddBatch(ctx, batch)
	if err != nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, o := range batch {
		l.stored[o.ID] = true
	}
	l.acks++
	l.changed.Broadcast()
	return true
}

func (l *ledger) remove(ctx context.Context, c *client.Client, id [32]byte) {
	l.mu.Lock()
	delete(l.stored, id)
	l.mu.Unlock()
	if err := c.Delete(ctx, id); err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deleted[id] = true
	l.acks++
	l.changed.Broadcast()
}

// waitFor returns once n more requests were acknowledged, or ctx has ended.
func (l *ledger) waitFor(ctx context.Context, n int) error {
	defer context.AfterFunc(ctx, l.changed.Broadcast)()
	l.mu.Lock()
	defer l.mu.Unlock()
	for n += l.acks; l.acks < n && ctx.Err() == nil; {
		l.changed.Wait()
	}
	return ctx.Err()
}

// check reads every stored object, whose SHA-256 the client compares, and
// requests every deleted one. Its error joins all differences from the
// acknowledged state.
func (l *ledger) check(ctx context.Context, c *client.Client) error {
	var wrong []error
	var mu sync.Mutex
	note := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		wrong = append(wrong, err)
	}
	var readers errgroup.Group
	readers.SetLimit(8)
	for _, id := range slices.Collect(maps.Keys(l.stored)) {
		readers.Go(func() error {
			if _, err := c.Get(ctx, id); err != nil {
				note(fmt.Errorf("acknowledged object %x: %w", id, err))
			}
			return nil
		})
	}
	for _, id := range slices.Collect(maps.Keys(l.deleted)) {
		readers.Go(func() error {
			if _, err := c.Get(ctx, id); !errors.Is(err, client.ErrNotFound) {
				note(errors.Join(fmt.Errorf("deleted object %x is not absent", id), err))
			}
			return nil
		})
	}
	_ = readers.Wait() // the errors are noted
	return errors.Join(wrong...)
}
