// SPDX-License-Identifier: GPL-3.0-or-later

package ingest_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"winery/internal/ingest"
	"winery/sharedbase"
	"winery/test/expect"
)

// addAll has each of 64 goroutines add all objects in its own order, through one
// of the writers, and returns how many were reported as new.
func addAll(t *testing.T, all []sharedbase.Object, writers ...*ingest.Writer) (objects, bytes int64) {
	var newObjects, newBytes atomic.Int64
	var adders sync.WaitGroup
	for i := range 64 {
		adders.Go(func() {
			mine := slices.Clone(all)
			rand.Shuffle(len(mine), func(i, j int) { mine[i], mine[j] = mine[j], mine[i] })
			for len(mine) > 0 {
				n := min(1+rand.IntN(3), len(mine))
				added, err := writers[i%len(writers)].Add(t.Context(), mine[:n])
				if err != nil {
					t.Errorf("Add: %v", err)
					return
				}
				newObjects.Add(int64(added.Objects))
				newBytes.Add(added.Bytes)
				mine = mine[n:]
			}
		})
	}
	adders.Wait()
	return newObjects.Load(), newBytes.Load()
}

func TestManyAddTheSameObjects(t *testing.T) {
	for what, start := range map[string]func(f *fixture) []*ingest.Writer{
		"one writer": func(f *fixture) []*ingest.Writer {
			return []*ingest.Writer{f.start(ingest.Options{})}
		},
		"lanes": func(f *fixture) []*ingest.Writer {
			return []*ingest.Writer{f.start(ingest.Options{Writers: 3})}
		},
		"two writers": func(f *fixture) []*ingest.Writer {
			return []*ingest.Writer{f.start(ingest.Options{}), f.start(ingest.Options{Base: f.open(f.dsn)})}
		},
	} {
		t.Run(what, func(t *testing.T) {
			f := newFixture(t)
			all := append(objects(100, 500, what), object(""))
			n, bytes := addAll(t, all, start(f)...)
			if n != 101 || bytes != 100*500 {
				t.Errorf("%d objects of %d bytes were new, want 101 of 50000", n, bytes)
			}
			f.stored(all...)
		})
	}
}

func TestWhatIsNew(t *testing.T) {
	f := newFixture(t)
	w := f.start(ingest.Options{})
	a, b, c := object("a"), object("bb"), object("ccc")
	f.add(w, a)
	added, err := w.Add(t.Context(), []sharedbase.Object{b, a, c, b})
	f.must(err)
	if want := []bool{true, false, true, false}; !slices.Equal(added.New, want) || added.Objects != 2 || added.Bytes != 5 {
		t.Errorf("added %+v", added)
	}
	if added, err := w.Add(t.Context(), nil); added.Objects != 0 || err != nil {
		t.Errorf("nothing: %+v, %v", added, err)
	}
	f.stored(a, b, c)
}

// Adds that wait while another is committed go together.
func TestWaitingAddsAreOneTransaction(t *testing.T) {
	f := newFixture(t)
	relay, dsn := relayed(t, f.dsn)
	w := f.start(ingest.Options{Base: f.open(dsn)})
	all := objects(100, 10, "waiting")
	var adders sync.WaitGroup
	add := func(o sharedbase.Object) {
		adders.Go(func() {
			if _, err := w.Add(t.Context(), []sharedbase.Object{o}); err != nil {
				t.Errorf("Add: %v", err)
			}
		})
	}
	holdInLane(t, relay, w, func() { add(all[0]) })
	for _, o := range all[1:] {
		add(o)
	}
	expect.Eventually(t, "the others to queue", func() bool { return w.Waiting() == 99 })
	relay.Resume()
	adders.Wait()
	// A row's xmin is the transaction that wrote it.
	if n := f.sql("SELECT count(DISTINCT xmin::text) FROM shard_" + f.shards()[0].Name); n != "2" {
		t.Errorf("%s transactions, want 2: the first, and the others together", n)
	}
	f.stored(all...)
}

func TestIdleWriterReleases(t *testing.T) {
	f := newFixture(t)
	w := f.start(ingest.Options{IdleTimeout: 20 * time.Millisecond})
	f.add(w, object("before"))
	expect.Eventually(t, "the shard to be released", func() bool { return len(f.shards(sharedbase.StateStandby)) == 1 })
	f.add(w, object("after"))
	if shards := f.shards(); len(shards) != 1 {
		t.Errorf("%d shards, want the first to be used again", len(shards))
	}
	f.stored(object("before"), object("after"))
}

func TestCloseAnswersWhatWasAccepted(t *testing.T) {
	f := newFixture(t)
	w := f.start(ingest.Options{Writers: 2})
	var mu sync.Mutex
	var acknowledged []sharedbase.Object
	var adders sync.WaitGroup
	under := make(chan struct{}, 1)
	for i := range 32 {
		adders.Go(func() {
			for _, o := range objects(10_000, 100, string(rune('A'+i))) {
				_, err := w.Add(t.Context(), []sharedbase.Object{o})
				if errors.Is(err, ingest.ErrClosed) {
					return
				}
				if err != nil {
					t.Errorf("Add: %v", err)
					return
				}
				mu.Lock()
				acknowledged = append(acknowledged, o)
				if len(acknowledged) > 200 {
					select {
					case under <- struct{}{}:
					default:
					}
				}
				mu.Unlock()
			}
		})
	}
	<-under
	f.must(w.Close(t.Context()))
	if locked := f.shards(sharedbase.StateWriting); len(locked) != 0 {
		t.Errorf("%d shards are still locked", len(locked))
	}
	adders.Wait()
	f.stored(acknowledged...)
	if _, err := w.Add(t.Context(), objects(1, 10, "late")); !errors.Is(err, ingest.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	f.must(w.Close(t.Context()))
}

// A writer that starts while the database is unavailable claims a shard as soon
// as it is back.
func TestStartWithoutTheDatabase(t *testing.T) {
	f := newFixture(t)
	relay, dsn := relayed(t, f.dsn)
	relay.Cut()
	w := f.writer(ingest.Options{Base: f.open(dsn), QueueWait: time.Second})
	w.Start()
	expect.Eventually(t, "a try to connect", func() bool { return relay.Refused() > 0 })
	for {
		_, err := w.Add(t.Context(), objects(1, 10, "too early"))
		if !errors.Is(err, ingest.ErrBusy) {
			t.Fatalf("Add: %v", err)
		}
		if errors.Is(err, sharedbase.ErrUnavailable) {
			break // it names the cause
		}
	}
	relay.Join()
	expect.Eventually(t, "a shard", func() bool { return len(f.shards(sharedbase.StateWriting)) == 1 })
	expect.Eventually(t, "an add", func() bool {
		added, err := w.Add(t.Context(), []sharedbase.Object{object("at last")})
		if err != nil && !errors.Is(err, ingest.ErrBusy) {
			t.Fatalf("Add: %v", err)
		}
		return added.Objects == 1
	})
}
