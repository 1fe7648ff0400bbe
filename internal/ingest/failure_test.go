// SPDX-License-Identifier: GPL-3.0-or-later

package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"winery/internal/ingest"
	"winery/internal/metrics"
	"winery/sharedbase"
	"winery/test/expect"
)

// A shard that was taken from its writer, and given to another, gets nothing
// more from it; its callers notice nothing.
func TestShardLost(t *testing.T) {
	f := newFixture(t)
	m, err := metrics.FromEnvironment(quiet)
	f.must(err)
	defer m.Close()
	w := f.start(ingest.Options{Metrics: m})
	f.add(w, object("before"))

	stolen := f.shards(sharedbase.StateWriting)[0]
	f.must(f.base.ReleaseShard(t.Context(), stolen))
	thief, err := f.base.LockWritingShard(t.Context(), "shards")
	f.must(err)
	if thief.Name() != stolen.Name {
		t.Fatalf("the thief has %s", thief.Name())
	}

	f.add(w, objects(20, 10, "after")...)
	if objects, _ := f.size(stolen.Name); objects != 1 {
		t.Errorf("the stolen shard has %d objects, want the one from before", objects)
	}
	f.stored(append(objects(20, 10, "after"), object("before"))...)
	f.must(w.Close(t.Context()))
	if locked := f.shards(sharedbase.StateWriting); len(locked) != 1 || locked[0].Name != stolen.Name {
		t.Errorf("locked after Close: %v, want the thief's alone", locked)
	}
	f.must(thief.Release(t.Context()))
	f.must(testutil.GatherAndCompare(m.Registry(), strings.NewReader(`
# HELP winery_lease_lost_total Steps that were aborted because the lease was lost.
# TYPE winery_lease_lost_total counter
winery_lease_lost_total{role="writer"} 1
`), "winery_lease_lost_total"))
}

// load adds objects from many goroutines, repeating what fails, as clients do,
// and returns a function that ends it and makes sure that all that was
// acknowledged is stored.
func (f *fixture) load(w *ingest.Writer) (acknowledged func() int, end func()) {
	ctx, cancel := context.WithCancel(f.Context())
	var mu sync.Mutex
	var stored []sharedbase.Object
	var adders sync.WaitGroup
	for i := range 16 {
		adders.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				o := object(fmt.Sprintf("load %d %d", i, n))
				_, err := w.Add(ctx, []sharedbase.Object{o})
				for err != nil && ctx.Err() == nil {
					if !errors.Is(err, sharedbase.ErrUnavailable) && !errors.Is(err, ingest.ErrBusy) {
						f.Errorf("Add: %v", err)
						return
					}
					_, err = w.Add(ctx, []sharedbase.Object{o})
				}
				if err == nil {
					mu.Lock()
					stored = append(stored, o)
					mu.Unlock()
				}
			}
		})
	}
	acknowledged = func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(stored)
	}
	return acknowledged, func() {
		f.Helper()
		cancel()
		adders.Wait()
		f.stored(stored...)
	}
}

// through lets each fault happen in the middle of a load, and waits until
// adds succeed again.
func (f *fixture) through(w *ingest.Writer, faults ...func()) {
	f.Helper()
	acknowledged, end := f.load(w)
	more := func() {
		f.Helper()
		before := acknowledged()
		expect.Eventually(f, "more objects to be added", func() bool { return f.Failed() || acknowledged() > before+100 })
	}
	more()
	for _, fault := range faults {
		fault()
		more()
	}
	end()
	f.must(w.Close(f.Context()))
	if locked := f.shards(sharedbase.StateWriting); len(locked) != 0 {
		f.Errorf("%d shards stay locked", len(locked))
	}
}

// Only the writer's connections are terminated: the test's own connections check
// the result.
func TestBackendsKilled(t *testing.T) {
	f := newFixture(t)
	base, err := sharedbase.New(f.dsn, "victim")
	f.must(err)
	t.Cleanup(base.Close)
	kill := func() {
		killed := f.sql("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'victim%'")
		if killed == "0" {
			t.Error("the writer had no connection that could be terminated")
		}
	}
	f.through(f.start(ingest.Options{Base: base}), kill, kill)
}

// The network goes between a commit and its answer, or anywhere else.
func TestConnectionsCut(t *testing.T) {
	f := newFixture(t)
	relay, dsn := relayed(t, f.dsn)
	cut := func() {
		relay.Cut()
		relay.Join()
	}
	away := func() {
		relay.Cut()
		expect.Eventually(t, "attempts to reconnect", func() bool { return relay.Refused() > 5 })
		relay.Join()
	}
	f.through(f.start(ingest.Options{Base: f.open(dsn)}), cut, away, cut)
}

func TestBusy(t *testing.T) {
	f := newFixture(t)
	relay, dsn := relayed(t, f.dsn)
	w := f.start(ingest.Options{Base: f.open(dsn), QueueBytes: 10_000, QueueWait: 50 * time.Millisecond})
	all := objects(12, 1000, "busy")
	add := func(o sharedbase.Object) (answer chan error) {
		answer = make(chan error, 1)
		go func() { _, err := w.Add(t.Context(), []sharedbase.Object{o}); answer <- err }()
		return answer
	}
	first := make(chan error, 1)
	holdInLane(t, relay, w, func() {
		go func() {
			err := ingest.ErrBusy
			for errors.Is(err, ingest.ErrBusy) { // until a lane has taken it
				_, err = w.Add(t.Context(), all[:1])
			}
			first <- err
		}()
	})
	var others []chan error
	for _, o := range all[1:] {
		others = append(others, add(o))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Add(ctx, objects(1, 10, "gives up")); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that gave up got %v", err)
	}
	// Some wait in the queue, some for room in it; none for long.
	for _, answer := range others {
		if err := <-answer; !errors.Is(err, ingest.ErrBusy) {
			t.Errorf("want ErrBusy, got %v", err)
		}
	}
	relay.Resume()
	f.must(<-first)
	// What was refused was not added, and can be now.
	expect.Eventually(t, "what was refused to be added", func() bool {
		added, err := w.Add(t.Context(), all[1:])
		if err != nil && !errors.Is(err, ingest.ErrBusy) {
			t.Fatal(err)
		}
		return added.Objects == len(all)-1
	})
	f.stored(all...)
}

// Close with a database that does not answer ends with its context.
func TestCloseCutOff(t *testing.T) {
	f := newFixture(t)
	relay, dsn := relayed(t, f.dsn)
	w := ingest.New(ingest.Options{Base: f.open(dsn), Pools: pools(t), Pool: "shards", Log: quiet})
	w.Start()
	expect.Eventually(t, "the writer to claim a shard", func() bool { return len(f.shards(sharedbase.StateWriting)) == 1 })
	answers := make(chan error)
	add := func(o sharedbase.Object) {
		go func() { _, err := w.Add(context.Background(), []sharedbase.Object{o}); answers <- err }()
	}
	holdInLane(t, relay, w, func() { add(object("taken")) })
	add(object("waiting"))
	expect.Eventually(t, "the second to wait", func() bool { return w.Waiting() == 1 })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	closed := make(chan error)
	go func() { closed <- w.Close(ctx) }()
	if err := <-answers; err == nil {
		t.Error("an add was acknowledged without the database")
	}
	// The shard is released as soon as the database answers again.
	relay.Cut()
	relay.Resume()
	relay.Join()
	if err := <-closed; !errors.Is(err, context.Canceled) {
		t.Errorf("Close: %v", err)
	}
	if err := <-answers; err == nil {
		t.Error("an add was acknowledged without the database")
	}
	if locked := f.shards(sharedbase.StateWriting); len(locked) != 0 {
		t.Errorf("%d shards stay locked", len(locked))
	}
}

// However long the database was unavailable, a lane tries again soon.
func TestPausesAreShort(t *testing.T) {
	pauses := ingest.NewPauses()
	for range 1000 {
		if pause := pauses.NextBackOff(); pause <= 0 || pause > ingest.MaxPause {
			t.Fatalf("a pause of %v", pause)
		}
	}
}
