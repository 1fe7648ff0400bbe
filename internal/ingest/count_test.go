// SPDX-License-Identifier: GPL-3.0-or-later

package ingest_test

import (
	"log/slog"
	"testing"
	"time"

	"winery/internal/ingest"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/logtest"
)

// died leaves a standby shard like a writer that died: its size is not recorded.
func (f *fixture) died(objects ...sharedbase.Object) (name string) {
	f.Helper()
	claim, err := f.base.LockWritingShard(f.Context(), "shards")
	f.must(err)
	_, err = f.base.Add(f.Context(), claim, objects)
	f.must(err)
	f.must(claim.Release(f.Context()))
	return claim.Name()
}

// slowCount opens the database so that tables are counted only once count is closed.
// Each of the functions sees all statements.
func (f *fixture) slowCount(see ...func(sharedbase.Statement)) (base *sharedbase.SharedBase, counting, count chan struct{}) {
	f.Helper()
	counting, count = make(chan struct{}, 1), make(chan struct{})
	base, err := sharedbase.New(f.dsn, "writer test", sharedbase.WithObserver(func(s sharedbase.Statement) {
		for _, f := range see {
			f(s)
		}
		if s.Name() == "TableSize" && !s.Done {
			select {
			case counting <- struct{}{}:
			default:
			}
			<-count
		}
	}))
	f.must(err)
	f.Cleanup(base.Close)
	return base, counting, count
}

// Adds continue while the shard's table is counted, and the earlier objects count
// once their number is known.
func TestAddsGoOnDuringTheCount(t *testing.T) {
	f := newFixture(t)
	before := objects(7, 1000, "before")
	name := f.died(before...)
	base, counting, count := f.slowCount()
	w := f.start(ingest.Options{Base: base, ShardMaxSize: 10_000})
	<-counting
	after := objects(4, 1000, "after")
	f.add(w, after...)
	expect.Eventually(t, "the lane to be idle while the count is not complete", func() bool { return w.Busy() == 0 })
	if objects, _ := f.size(name); objects != 11 {
		t.Errorf("the shard has %d objects", objects)
	}
	close(count)
	// Nothing more is added, and the shard is full.
	expect.Eventually(t, "the shard to be full", func() bool { return len(f.shards(sharedbase.StateFull)) == 1 })
	f.stored(append(before, after...)...)
}

// A shard whose count is not complete gets at most half of its size.
func TestShardOfUnknownSizeIsHandedOn(t *testing.T) {
	f := newFixture(t)
	name := f.died(objects(9, 1000, "before")...)
	base, counting, count := f.slowCount()
	defer close(count)
	w := f.start(ingest.Options{Base: base, ShardMaxSize: 10_000})
	<-counting
	for _, o := range objects(8, 1000, "after") {
		f.add(w, o)
	}
	full := f.shards(sharedbase.StateFull)
	if len(full) != 1 || full[0].Name != name {
		t.Fatalf("full are %v, want %s", full, name)
	}
	if objects, _ := f.size(name); objects != 14 {
		t.Errorf("the full shard has %d objects, want the 9 and half its size", objects)
	}
}

// What an earlier writer recorded needs no count.
func TestKnownSizeIsNotCounted(t *testing.T) {
	f := newFixture(t)
	earlier := f.start(ingest.Options{})
	f.add(earlier, objects(9, 1000, "before")...)
	f.must(earlier.Close(t.Context()))
	base, counting, count := f.slowCount()
	close(count)
	w := f.start(ingest.Options{Base: base, ShardMaxSize: 10_000})
	f.add(w, objects(1, 1000, "after")...)
	expect.Eventually(t, "the shard to be full", func() bool { return len(f.shards(sharedbase.StateFull)) == 1 })
	if len(counting) > 0 {
		t.Error("the table was counted")
	}
}

// firstMoveFails lets the first transition of a claimed shard fail.
func (f *fixture) firstMoveFails() func(sharedbase.Statement) {
	seen := 0
	return func(s sharedbase.Statement) {
		if s.Name() != "SetState" {
			return
		}
		switch seen++; seen {
		case 1: // about to be sent
			f.sql("ALTER TABLE winery_total RENAME TO hidden")
		case 2: // answered
			f.sql("ALTER TABLE hidden RENAME TO winery_total")
		}
	}
}

// Only a complete count is recorded, even where the first attempt to release the
// shard, or to mark it full, failed.
func TestIncompleteCountIsNotRecorded(t *testing.T) {
	for failure, test := range map[string]struct {
		options ingest.Options
		objects int // added meanwhile
	}{
		"cannot release the shard": {ingest.Options{IdleTimeout: time.Millisecond}, 1},
		"marking a shard full":     {ingest.Options{ShardMaxSize: 10_000}, 5},
	} {
		t.Run(failure, func(t *testing.T) {
			f := newFixture(t)
			f.died(objects(9, 1000, "before")...)
			base, _, count := f.slowCount(f.firstMoveFails())
			defer close(count)
			var log logtest.Log
			test.options.Base, test.options.Log = base, log.Logger(slog.LevelInfo)
			w := f.start(test.options)
			f.add(w, objects(test.objects, 1000, "meanwhile")...)
			log.Wait(t, failure)
			f.add(w, object("later"))
			log.Wait(t, "shard released")
			if total := f.sql("SELECT objects, bytes FROM winery_total"); total != "" {
				t.Errorf("recorded are %s", total)
			}
		})
	}
}

// A failed count is repeated, and what was added meanwhile counts once.
func TestCountAgain(t *testing.T) {
	f := newFixture(t)
	name := f.died(objects(5, 1000, "before")...)
	base, counting, count := f.slowCount()
	var log logtest.Log
	w := f.start(ingest.Options{Base: base, ShardMaxSize: 10_000, Log: log.Logger(slog.LevelInfo)})
	<-counting
	f.add(w, objects(3, 1000, "during")...)
	f.sql("ALTER TABLE shard_" + name + " RENAME TO hidden")
	close(count)
	expect.Eventually(t, "another try", func() bool { return len(counting) > 0 })
	f.sql("ALTER TABLE hidden RENAME TO shard_" + name)
	log.Wait(t, "counted the shard's objects")
	if len(log.Lines("objects=8 bytes=8000")) == 0 {
		t.Errorf("the log has %s", &log)
	}
}
