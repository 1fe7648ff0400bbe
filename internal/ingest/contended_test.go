// SPDX-License-Identifier: GPL-3.0-or-later

package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"winery/internal/ingest"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/pgtest"
)

// insertion adds the objects to the index, in a shard of its own.
func insertion(objects ...sharedbase.Object) string {
	sql := `INSERT INTO shards (name, pool_name, state) VALUES ('other', 'elsewhere', 'full');`
	for _, o := range objects {
		sql += fmt.Sprintf(`INSERT INTO signature2shard (signature, state, shard)
			SELECT '\x%x', 'present', id FROM shards WHERE name = 'other';`, o.ID)
	}
	return sql
}

// Clients that add an object whose row another transaction holds are refused
// after a while, and do not delay other clients.
func TestContendedObjectDelaysNoOther(t *testing.T) {
	f := newFixture(t)
	w := f.start(ingest.Options{QueueWait: 4 * time.Second})
	contended := object("contended")
	release := pgtest.Hold(f, f.dsn, insertion(contended))
	ctx, stop := context.WithCancel(t.Context())
	refused := make(chan error, 1000)
	var again sync.WaitGroup
	for range 4 {
		again.Go(func() {
			for ctx.Err() == nil {
				_, err := w.Add(context.Background(), []sharedbase.Object{contended})
				refused <- err
			}
		})
	}
	first := <-refused
	// Now the object is known, and each of these finds others that wait for it.
	others := objects(2000, 100, "others")
	for i := 0; i < len(others); i += 10 {
		f.add(w, others[i:i+10]...)
	}
	stop()
	again.Wait()
	close(refused)
	for err := range refused {
		if !errors.Is(err, sharedbase.ErrContended) || !errors.Is(first, sharedbase.ErrContended) {
			t.Errorf("the contended object: %v", err)
		}
	}
	release()
	f.add(w, contended)
	f.stored(append(others, contended)...)
	if n := len(f.shards(sharedbase.StateWriting)); n != 1 {
		t.Errorf("%d shards are being written: the claim was not kept", n)
	}
}

// All objects of a batch but the contended are stored, and the batch is
// answered once that is, too.
func TestContendedObjectOfABatch(t *testing.T) {
	f := newFixture(t)
	w := f.start(ingest.Options{QueueWait: time.Minute})
	batch := objects(100, 10, "batch")
	release := pgtest.Hold(f, f.dsn, insertion(batch[40], batch[60]))
	answer := make(chan error, 1)
	var added sharedbase.Added
	go func() {
		var err error
		added, err = w.Add(context.Background(), batch)
		answer <- err
	}()
	expect.Eventually(t, "98 objects to be stored", func() bool { return f.sql("SELECT count(*) FROM signature2shard") == "98" })
	select {
	case err := <-answer:
		t.Fatalf("answered with %v", err)
	default:
	}
	release()
	f.must(<-answer)
	if added.Objects != 100 || !added.New[40] {
		t.Errorf("%d objects are new", added.Objects)
	}
	f.stored(batch...)
}

// What is set aside, by however many lanes, takes no memory that other adds wait for: an object that needs all of it is
// stored while contended objects wait.
func TestContendedObjectsHoldNoMemoryOfOthers(t *testing.T) {
	const queue = 1 << 20
	f := newFixture(t)
	w := f.start(ingest.Options{Writers: 4, QueueBytes: queue, QueueWait: time.Minute})
	held := objects(16, queue/8-1000, "held")
	release := pgtest.Hold(f, f.dsn, insertion(held...))
	answers := make(chan error, len(held))
	for _, o := range held {
		go func() {
			_, err := w.Add(context.Background(), []sharedbase.Object{o})
			answers <- err
		}()
	}
	// Eight of them were once as much as all lanes together could set aside.
	expect.Eventually(t, "half of them to be refused", func() bool { return len(answers) >= len(held)/2 })
	large, small := objects(1, queue, "large")[0], object("small")
	f.add(w, large)
	f.add(w, small)
	if len(answers) == len(held) {
		t.Error("no contended object waits: the others were stored after them")
	}
	release()
	for range held {
		if err := <-answers; err != nil && !errors.Is(err, sharedbase.ErrContended) {
			t.Errorf("a contended object: %v", err)
		}
	}
	f.stored(large, small)
}

// Where a transaction holds all objects of a group, the search for those that are
// free ends.
func TestAllObjectsContended(t *testing.T) {
	f := newFixture(t)
	w := f.start(ingest.Options{QueueWait: 4 * time.Second})
	held := objects(1000, 10, "held")
	release := pgtest.Hold(f, f.dsn, insertion(held...))
	if _, err := w.Add(t.Context(), held); !errors.Is(err, sharedbase.ErrContended) {
		t.Errorf("Add: %v", err)
	}
	f.add(w, object("free"))
	release()
	f.add(w, held...)
	f.stored(held...)
}

// Contended objects that wait are answered when the database goes away, although the
// lane cannot write anything until it is back, and nothing of them was written.
func TestOutageAnswersContended(t *testing.T) {
	const queueWait = 8 * time.Second
	f := newFixture(t)
	relay, dsn := relayed(t, f.dsn)
	w := f.start(ingest.Options{Base: f.open(dsn), QueueWait: queueWait})
	contended, other := object("contended"), object("other")
	release := pgtest.Hold(f, f.dsn, insertion(contended))
	began := time.Now()
	answer := make(chan error, 1)
	go func() {
		_, err := w.Add(context.Background(), []sharedbase.Object{contended})
		answer <- err
	}()
	expect.Eventually(t, "a lane to take the add", func() bool { return w.Waiting() == 0 && w.Busy() > 0 })
	expect.Eventually(t, "the lane to set it aside", func() bool { return w.Busy() == 0 })
	relay.Cut()
	if _, err := w.Add(context.Background(), []sharedbase.Object{other}); !errors.Is(err, sharedbase.ErrUnavailable) && !errors.Is(err, ingest.ErrBusy) {
		t.Errorf("the other object, without a database: %v", err)
	}
	select {
	case err := <-answer:
		if !errors.Is(err, sharedbase.ErrUnavailable) && !errors.Is(err, sharedbase.ErrContended) {
			t.Errorf("the contended object: %v", err)
		}
		t.Logf("answered after %v with %v", time.Since(began), err)
	case <-time.After(queueWait + 10*time.Second):
		t.Error("the contended object is not answered while the database is unavailable")
	}
	release()
	relay.Join()
	if n := f.sql("SELECT count(*) FROM signature2shard"); n != "0" {
		t.Errorf("%s objects are stored", n)
	}
	expect.Eventually(t, "the objects to be added", func() bool {
		added, err := w.Add(t.Context(), []sharedbase.Object{contended, other})
		return err == nil && added.Objects == 2
	})
	f.stored(contended, other)
}

// Contended objects that wait are answered when the writer closes.
func TestCloseAnswersContended(t *testing.T) {
	f := newFixture(t)
	w := f.start(ingest.Options{QueueWait: time.Hour})
	contended := object("contended")
	pgtest.Hold(f, f.dsn, insertion(contended))
	answer := make(chan error, 1)
	go func() {
		_, err := w.Add(context.Background(), []sharedbase.Object{contended})
		answer <- err
	}()
	expect.Eventually(t, "the add to be taken", func() bool { return w.Waiting() == 0 && w.Busy() > 0 })
	f.must(w.Close(t.Context()))
	if err := <-answer; !errors.Is(err, sharedbase.ErrContended) {
		t.Errorf("Add: %v", err)
	}
}
