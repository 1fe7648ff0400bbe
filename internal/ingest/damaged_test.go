// SPDX-License-Identifier: GPL-3.0-or-later

package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"winery/internal/ingest"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/logtest"
)

// damage has the server fail with a SQLSTATE where it would write one of the objects to
// the index, as with a damaged page; without objects, where it would write any.
func (f *fixture) damage(code string, objects ...sharedbase.Object) {
	f.Helper()
	keys := make([]string, len(objects))
	for i, o := range objects {
		keys[i] = fmt.Sprintf(`NEW.signature = '\x%x'`, o.ID)
	}
	f.damageTable(code, "signature2shard", strings.Join(keys, " OR "))
}

// damageTable has the server fail with a SQLSTATE where it would write a row to a table that
// meets the condition; "" is any.
func (f *fixture) damageTable(code, table, condition string) {
	f.Helper()
	if condition != "" {
		condition = "WHEN (" + condition + ")"
	}
	f.sql(fmt.Sprintf(`CREATE FUNCTION damaged_%[2]s() RETURNS trigger LANGUAGE plpgsql AS
			$$ BEGIN RAISE 'the page is damaged' USING ERRCODE = '%[1]s'; END $$;
		CREATE TRIGGER damaged BEFORE INSERT ON %[2]s FOR EACH ROW %[3]s EXECUTE FUNCTION damaged_%[2]s()`, code, table, condition))
}

// isDamage reports whether an add was refused because of damage.
func isDamage(err error) bool {
	return sharedbase.Refused(err) && !errors.Is(err, sharedbase.ErrContended)
}

// Of the adds that go into one transaction, those fail whose object is damaged in the
// database. The others are stored, under the same claim.
func TestDamagedObjectFailsAlone(t *testing.T) {
	for code, what := range map[string]string{"XX001": "a damaged page", "58030": "a disk that cannot be read"} {
		t.Run(what, func(t *testing.T) {
			f := newFixture(t)
			relay, dsn := relayed(t, f.dsn)
			w := f.start(ingest.Options{Base: f.open(dsn)})
			all := objects(101, 10, "together")
			f.damage(code, all[40], all[60])
			claimed := f.shards(sharedbase.StateWriting)
			errs := make([]error, len(all))
			var adders sync.WaitGroup
			add := func(i int) {
				adders.Go(func() { _, errs[i] = w.Add(t.Context(), all[i:i+1]) })
			}
			holdInLane(t, relay, w, func() { add(0) })
			for i := range all[1:] {
				add(1 + i)
			}
			expect.Eventually(t, "the others to queue", func() bool { return w.Waiting() == 100 })
			relay.Resume()
			adders.Wait()
			for i, err := range errs {
				if bad := i == 40 || i == 60; bad != isDamage(err) || !bad && err != nil {
					t.Errorf("object %d: %v", i, err)
				}
			}
			if now := f.shards(sharedbase.StateWriting); len(now) != 1 || now[0].Locker != claimed[0].Locker {
				t.Errorf("the claim was not kept: %+v, was %+v", now, claimed)
			}
			f.stored(append(append(all[:40:40], all[41:60]...), all[61:]...)...)
			f.sql("DROP TRIGGER damaged ON signature2shard")
			f.add(w, all[40], all[60])
		})
	}
}

// Clients that add a damaged object again and again fail no other, and each gets the
// reason.
func TestDamagedObjectAgain(t *testing.T) {
	f := newFixture(t)
	w := f.start(ingest.Options{})
	damaged := objects(3, 10, "damaged")
	f.damage("XX002", damaged...)
	claimed := f.shards(sharedbase.StateWriting)
	ctx, stop := context.WithCancel(t.Context())
	var again sync.WaitGroup
	for i := range 12 {
		again.Go(func() {
			for ctx.Err() == nil {
				batch := append(objects(10, 10, fmt.Sprint("with ", i)), damaged[i%3])
				if _, err := w.Add(context.Background(), batch); !isDamage(err) {
					t.Errorf("a damaged object: %v", err)
				}
			}
		})
	}
	others := objects(2000, 100, "others")
	for i := 0; i < len(others); i += 10 {
		f.add(w, others[i:i+10]...)
	}
	stop()
	again.Wait()
	f.stored(others...)
	if now := f.shards(sharedbase.StateWriting); len(now) != 1 || now[0].Locker != claimed[0].Locker {
		t.Errorf("the claim was not kept: %+v, was %+v", now, claimed)
	}
}

// Where every object is refused, it is not the objects that are damaged: the lane ends the
// search for them, says why it cannot write, and continues once it can.
func TestEverythingDamaged(t *testing.T) {
	f := newFixture(t)
	var log logtest.Log
	w := f.start(ingest.Options{Log: log.Logger(slog.LevelInfo)})
	claimed := f.shards()
	all := objects(1000, 10, "all")
	f.damage("XX001")
	if _, err := w.Add(t.Context(), all); !isDamage(err) {
		t.Errorf("Add: %v", err)
	}
	// A search that takes longer than a second ends without this message; what it found counts for the next one.
	for n := 0; len(log.Lines("cannot write objects, retrying")) < 2; n++ {
		if _, err := w.Add(t.Context(), objects(1000, 10, fmt.Sprint("more ", n))); !isDamage(err) {
			t.Fatalf("Add: %v", err)
		}
	}
	f.sql("DROP TRIGGER damaged ON signature2shard")
	f.add(w, all...)
	f.stored(all...)
	f.keptShard(claimed[0])
}

// keptShard makes sure that the lane has kept its shard, and has tried one new shard.
func (f *fixture) keptShard(claimed sharedbase.Shard) {
	f.Helper()
	all := f.shards()
	if writing := f.shards(sharedbase.StateWriting); len(writing) != 1 || writing[0].Locker != claimed.Locker {
		f.Errorf("the claim was not kept: %+v, was %+v", writing, claimed)
	}
	if len(all) != 2 || len(f.shards(sharedbase.StateStandby)) != 1 {
		f.Errorf("want one shard beside it, in standby: %+v", all)
	}
}

// Where the table of a shard takes no objects, and a new shard takes them, the writer continues with that one.
func TestDamagedTable(t *testing.T) {
	f := newFixture(t)
	w := f.start(ingest.Options{})
	before, all := objects(10, 10, "before"), objects(1000, 10, "all")
	f.add(w, before...)
	damaged := f.shards()[0]
	f.damageTable("XX001", "shard_"+damaged.Name, "")
	failed := 0
	for len(all) > 0 { // clients whose adds fail repeat them
		part := all[:min(50, len(all))]
		switch _, err := w.Add(t.Context(), part); {
		case err == nil:
			f.stored(part...)
			all = all[len(part):]
		case !isDamage(err):
			t.Fatalf("Add: %v", err)
		default:
			if failed++; failed > 20 {
				t.Fatal("no add succeeds")
			}
		}
	}
	t.Logf("%d adds failed", failed)
	f.stored(before...)
	if err := w.Failure(); err != nil {
		t.Errorf("Failure: %v", err)
	}
	if full := f.shards(sharedbase.StateFull); len(full) != 1 || full[0].Name != damaged.Name || len(f.shards()) != 2 {
		t.Errorf("want the damaged shard full, and one other: %+v", f.shards())
	}
}

// A table stays damaged when other trouble, because of which another shard did not take its
// objects, has ended: then the lane continues with that shard.
func TestDamagedTableAfterOutage(t *testing.T) {
	f := newFixture(t)
	var log logtest.Log
	w := f.start(ingest.Options{Log: log.Logger(slog.LevelInfo)})
	damaged := f.shards()[0]
	f.damageTable("XX001", "shard_"+damaged.Name, "")
	f.damageTable("57014", "signature2shard", fmt.Sprint("NEW.shard <> ", damaged.ID))
	for n := 0; len(log.Lines("cannot write objects, retrying")) < 2; n++ {
		if _, err := w.Add(t.Context(), objects(1000, 10, fmt.Sprint("more ", n))); !isDamage(err) {
			t.Fatalf("Add: %v", err)
		}
	}
	f.keptShard(damaged)
	f.sql("DROP TRIGGER damaged ON signature2shard")
	all := objects(1000, 10, "all")
	for n := 0; ; n++ {
		_, err := w.Add(t.Context(), all)
		if err == nil {
			break
		}
		if !isDamage(err) || n == 100 {
			t.Fatalf("Add %d: %v", n, err)
		}
	}
	f.stored(all...)
	if full := f.shards(sharedbase.StateFull); len(full) != 1 || full[0].Name != damaged.Name || len(f.shards()) != 2 {
		t.Errorf("want the damaged shard full, and one other: %+v", f.shards())
	}
}

// A shard whose table takes no objects is not marked full unless another shard takes them.
func TestDamagedTableAndOutage(t *testing.T) {
	for code, what := range map[string]string{"53100": "a full disk", "57P01": "a server that shuts down", "58030": "a disk that cannot be read"} {
		t.Run(what, func(t *testing.T) {
			f := newFixture(t)
			var log logtest.Log
			w := f.start(ingest.Options{Log: log.Logger(slog.LevelInfo)})
			claimed := f.shards()[0]
			table := "shard_" + claimed.Name
			f.damageTable("XX001", table, "")
			f.damageTable(code, "signature2shard", fmt.Sprint("NEW.shard <> ", claimed.ID))
			for n := 0; len(log.Lines("cannot write objects, retrying")) < 2; n++ {
				if _, err := w.Add(t.Context(), objects(1000, 10, fmt.Sprint("more ", n))); !isDamage(err) {
					t.Fatalf("Add: %v", err)
				}
			}
			f.sql("DROP TRIGGER damaged ON signature2shard; DROP TRIGGER damaged ON " + table)
			all := objects(100, 10, "all")
			f.add(w, all...)
			f.stored(all...)
			f.keptShard(claimed)
		})
	}
}
