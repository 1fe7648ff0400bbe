// SPDX-License-Identifier: GPL-3.0-or-later

package interop

import (
	"crypto/sha256"
	"fmt"

	"golang.org/x/sync/errgroup"

	"winery/internal/httpapi/rpc"
	"winery/sharedbase"
	"winery/test/harness"
)

const (
	batches    = 40   // of a round
	batchOwn   = 12   // objects of a batch that one writer gets alone
	batchBoth  = 4    // and that both get, at once
	largest    = 5000 // bytes
	deleteEach = 3    // objects, by each writer after each round
)

// round adds objects through every writer at once, and calls change during the
// second half. Then it deletes some.
func (m *mixed) round(change func()) {
	m.Helper()
	m.next()
	writers := m.writers()
	half, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for i := range batches {
			if i == batches/2 {
				close(half)
			}
			if err := m.batch(writers); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	select {
	case <-half:
		if change != nil {
			change()
		}
		m.must(<-done)
	case err := <-done:
		m.must(err)
	}
	m.deleteSome()
}

// batch adds one batch through each writer at once.
func (m *mixed) batch(writers []writer) error {
	shared := m.make(batchBoth)
	if len(writers) == 1 {
		m.given[writers[0].side] += batchBoth
	} else {
		m.both += batchBoth
	}
	added := make([]int, len(writers))
	group, ctx := errgroup.WithContext(m.ctx)
	for i, w := range writers {
		objects := append(m.make(batchOwn), shared...)
		m.given[w.side] += batchOwn
		group.Go(func() (err error) {
			added[i], _, err = w.AddBatch(ctx, objects)
			if err != nil {
				err = fmt.Errorf("adding in %s: %w", w.side, err)
			}
			return err
		})
	}
	err := group.Wait()
	for _, n := range added {
		m.added += n
	}
	return err
}

// make makes new objects.
func (m *mixed) make(n int) []rpc.Object {
	objects := make([]rpc.Object, n)
	for i := range objects {
		content := make([]byte, 32+m.random.Uint64()%largest)
		_, _ = m.random.Read(content)
		objects[i] = rpc.Object{ID: sha256.Sum256(content), Content: content}
		m.objects[objects[i].ID] = content
	}
	return objects
}

// deleteSome deletes objects through every writer. If no cleaner of Go Winery
// runs, it takes only objects whose shards are read-only, and runs Python's
// command, which fails on shards without an image, and leaves objects in the
// images of other shards. It does not delete objects of shards that are full or
// being packed, because Python's packer fails if its table changes meanwhile.
func (m *mixed) deleteSome() {
	m.Helper()
	states := []sharedbase.ShardState{sharedbase.StateReadOnly}
	_, oursCleans := m.working[sideGo][harness.Cleaner]
	if oursCleans {
		states = append(states, sharedbase.StateWriting, sharedbase.StatePacked)
	}
	for _, w := range m.writers() {
		var some [][32]byte
		m.until(func() (bool, error) {
			var err error
			some, err = m.located(states, deleteEach)
			return len(some) == deleteEach, err
		})
		for _, id := range some {
			m.gone[id] = true
			m.must(w.Delete(m.ctx, id))
		}
	}
	if !oursCleans {
		cleanDeleted(m.ctx, m.T, m.Fleet)
	}
}

// located finds n objects that were not deleted, in shards of the states in
// turn, as far as there are any.
func (m *mixed) located(states []sharedbase.ShardState, n int) (some [][32]byte, err error) {
	var ids [][32]byte
	for id := range m.objects {
		if !m.gone[id] {
			ids = append(ids, id)
		}
	}
	locations, err := m.Base.Locate(m.ctx, ids)
	if err != nil {
		return nil, err
	}
	byState := map[sharedbase.ShardState][][32]byte{}
	for i, l := range locations {
		byState[l.State] = append(byState[l.State], ids[i])
	}
	for i := range n {
		for j := range states {
			of := states[(i+j)%len(states)]
			if left := byState[of]; len(left) > 0 {
				some, byState[of] = append(some, left[0]), left[1:]
				break
			}
		}
	}
	return some, nil
}

// noneDeleted says whether no object is marked deleted, in any shard. Python's command
// fails on an object that was deleted in a table before its shard was packed: the image
// does not have it. The load fills such shards.
func (m *mixed) noneDeleted() (bool, error) {
	shards, err := m.Base.ListShards(m.ctx, sharedbase.ShardFilter{})
	if err != nil {
		return false, err
	}
	for _, s := range shards {
		if marked, err := m.Base.DeletedObjects(m.ctx, s.ID, 1); err != nil || len(marked) > 0 {
			return false, err
		}
	}
	return true, nil
}

// erased waits until no deleted object waits to be erased.
func (m *mixed) erased() {
	m.Helper()
	m.until(func() (bool, error) {
		left, err := m.Base.ShardsToErase(m.ctx, "")
		return len(left) == 0, err
	})
}
