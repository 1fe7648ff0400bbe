// SPDX-License-Identifier: GPL-3.0-or-later

package interop

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"winery/internal/fleet"
	"winery/internal/rpc"
	"winery/internal/testfleet"
	"winery/sharedbase"
)

const (
	batches    = 40 // of a round
	batchOwn   = 12 // objects of a batch that one writer gets alone
	batchBoth  = 4  // and that both get, at once
	largest    = 5000
	deleteEach = 3 // objects, by each writer after each round
)

// TestMixedFleet replaces the roles of a fleet one at a time by those of the
// other language, while objects are added and deleted.
func TestMixedFleet(t *testing.T) {
	t.Run("moving to Go", func(t *testing.T) { move(t, sidePython, sideGo) })
	t.Run("moving back", func(t *testing.T) { move(t, sideGo, sidePython) })
}

func move(t *testing.T, from, to side) {
	m := newMixed(t)
	for _, role := range []string{fleet.Writer, fleet.Packer, fleet.Mapper, fleet.Cleaner} {
		m.start(from, role)
	}
	m.round(nil)
	m.start(to, fleet.Writer)
	m.round(nil)
	for _, role := range []string{fleet.Packer, fleet.Mapper, fleet.Cleaner} {
		m.start(to, role)
		m.round(func() {
			if role == fleet.Cleaner && from == sideGo {
				m.erased() // Python's would not get on with objects deleted in tables
			}
			m.stop(from, role)
		})
	}
	m.stop(from, fleet.Writer)
	m.round(nil)
	m.finish(from, to)
}

// mixed is a fleet of both languages on one database and one pool.
type mixed struct {
	*testing.T
	*fleet.Fleet
	ctx    context.Context
	failed func(error) // ends ctx
	dsn    string

	working map[side]map[string]worker // those at work, by role
	ever    map[side]map[string][]worker
	random  *rand.ChaCha8
	objects map[[32]byte][]byte // all that were added
	gone    map[[32]byte]bool   // those that were deleted
	given   map[side]int        // how many objects went to this side's writer alone
	both    int                 // and to both
	added   int                 // how many were new, by the writers' answers
}

func newMixed(t *testing.T) *mixed {
	o := testfleet.Options(t)
	o.ShardMaxSize = shardMaxSize
	ctx, cancel := context.WithCancelCause(testfleet.Within(t, 3*time.Minute))
	return &mixed{
		T: t, Fleet: testfleet.New(t, o), ctx: ctx, failed: cancel, dsn: o.DSN,
		working: map[side]map[string]worker{sidePython: {}, sideGo: {}},
		ever:    map[side]map[string][]worker{sidePython: {}, sideGo: {}},
		random:  rand.NewChaCha8([32]byte{}),
		objects: map[[32]byte][]byte{}, gone: map[[32]byte]bool{}, given: map[side]int{},
	}
}

// must ends the test on an error, with what made the fleet fail if it did.
func (m *mixed) must(err error) {
	m.Helper()
	if err != nil {
		m.Fatalf("%v (%v)", err, context.Cause(m.ctx))
	}
}

func (m *mixed) until(holds func() (bool, error)) {
	m.Helper()
	m.must(fleet.Until(m.ctx, holds))
}

func (m *mixed) start(in side, role string) {
	m.Helper()
	var w worker
	var err error
	if in == sideGo {
		w, err = startGo(m.ctx, m.Fleet, role)
	} else {
		w, err = startPython(m.ctx, m.T, m.Fleet, role, m.failed)
	}
	m.must(err)
	m.working[in][role] = w
	m.ever[in][role] = append(m.ever[in][role], w)
}

func (m *mixed) stop(in side, role string) {
	m.Helper()
	m.must(m.working[in][role].stop())
	delete(m.working[in], role)
}

// writers are the languages that have one at work.
func (m *mixed) writers() (in []side) {
	for _, l := range []side{sidePython, sideGo} {
		if _, ok := m.working[l][fleet.Writer]; ok {
			in = append(in, l)
		}
	}
	return in
}

// round adds objects through every writer at once, with change under way in the
// second half. Then it deletes some.
func (m *mixed) round(change func()) {
	m.Helper()
	half, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for i := range batches {
			if i == batches/2 {
				close(half)
			}
			if err := m.batch(); err != nil {
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
func (m *mixed) batch() error {
	writers := m.writers()
	shared := m.make(batchBoth)
	if len(writers) == 1 {
		m.given[writers[0]] += batchBoth
	} else {
		m.both += batchBoth
	}
	added := make([]int, len(writers))
	group, ctx := errgroup.WithContext(m.ctx)
	for i, l := range writers {
		objects := append(m.make(batchOwn), shared...)
		m.given[l] += batchOwn
		to := m.working[l][fleet.Writer].client
		group.Go(func() (err error) {
			added[i], _, err = to.AddBatch(ctx, objects)
			if err != nil {
				err = fmt.Errorf("adding in %s: %w", l, err)
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

// deleteSome deletes objects through every writer. Where no cleaner of ours is
// at work, it takes only objects whose shards are read-only, and runs Python's
// command: that one fails on shards without an image, and leaves objects in the
// images of others. Objects of shards that are full or being packed are left
// alone, since Python's packer fails where its table changes meanwhile.
func (m *mixed) deleteSome() {
	m.Helper()
	states := []sharedbase.ShardState{sharedbase.StateReadOnly}
	_, oursCleans := m.working[sideGo][fleet.Cleaner]
	if oursCleans {
		states = append(states, sharedbase.StateWriting, sharedbase.StatePacked)
	}
	for _, l := range m.writers() {
		var some [][32]byte
		m.until(func() (bool, error) {
			var err error
			some, err = m.located(states, deleteEach)
			return len(some) == deleteEach, err
		})
		for _, id := range some {
			m.gone[id] = true
			m.must(m.working[l][fleet.Writer].client.Delete(m.ctx, id))
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

// erased waits until no deleted object waits to be erased.
func (m *mixed) erased() {
	m.Helper()
	m.until(func() (bool, error) {
		for _, err := range m.Base.DeletedObjects(m.ctx, "") {
			return false, err
		}
		return true, nil
	})
}

// finish waits until all work is done, ends all roles, and looks at everything.
func (m *mixed) finish(from, to side) {
	m.Helper()
	m.must(m.WaitReadOnly(m.ctx))
	m.erased()
	for _, role := range []string{fleet.Packer, fleet.Mapper, fleet.Cleaner} {
		m.stop(to, role)
		m.Logf("%s: %d processes in Python, %d in Go", role, len(m.ever[sidePython][role]), len(m.ever[sideGo][role]))
	}
	m.start(from, fleet.Writer)
	m.readAll()
	for _, l := range m.writers() {
		m.stop(l, fleet.Writer)
	}
	shards := m.inspect()
	if m.added != len(m.objects) {
		m.Errorf("the writers say that %d objects were new to them, of %d", m.added, len(m.objects))
	}
	for what, n := range map[string]int{
		"Python packed":  did(m.T, m.ever[sidePython][fleet.Packer], ": saved"),
		"Python cleaned": did(m.T, m.ever[sidePython][fleet.Cleaner], "to clean"),
		"Go packed":      did(m.T, m.ever[sideGo][fleet.Packer], `"msg":"packed"`),
		"Go cleaned":     did(m.T, m.ever[sideGo][fleet.Cleaner], `"msg":"table dropped"`),
	} {
		m.Logf("%s %d", what, n)
		if n == 0 {
			m.Errorf("%s no shard", what)
		}
	}
	direction := map[side]string{sideGo: "moving to Go", sidePython: "moving back"}[to]
	paired(m.T, "mixed fleet, %s: %d objects by Python, %d by Go, %d by both, %d shards, %d deleted: each there once, read by both",
		direction, m.given[sidePython], m.given[sideGo], m.both, shards, len(m.gone))
}
