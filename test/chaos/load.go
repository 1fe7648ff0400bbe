// SPDX-License-Identifier: GPL-3.0-or-later

package chaos

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"winery/internal/httpapi/rpc/client"
	"winery/sharedbase"
)

const (
	clients  = 8
	think    = 150 * time.Millisecond // between two requests of a client, on average
	patience = 10 * time.Second       // for one answer
	again    = 500 * time.Millisecond // after a request that failed
	batch    = 24                     // objects, at most
	largest  = 64 << 10               // bytes of an object
)

// load is what clients do while all else breaks. Each client has objects of
// its own, so that requests for one object never overlap.
type load struct {
	journal *Journal
	writers []*client.Client
	seed    uint64
	// acked is called for each acknowledged add, with the writer and the time at
	// which the request was sent.
	acked func(writer int, sent time.Time)

	mu     sync.Mutex
	errors map[string]int // by what they mean to a client
	others []error        // those that no fault explains
}

// object is one that a client has made.
type object struct {
	id   sharedbase.ObjID
	n    uint64 // its content is drawn from it
	size int
}

// content draws the content of the n-th object.
func (l *load) content(n uint64, size int) []byte {
	var key [32]byte
	binary.BigEndian.PutUint64(key[:], l.seed)
	binary.BigEndian.PutUint64(key[8:], n)
	b := make([]byte, size)
	_, _ = rand.NewChaCha8(key).Read(b)
	return b
}

// run loads the writers until enough is closed. What was begun by then is
// brought to its end, or to ctx's.
func (l *load) run(ctx context.Context, enough <-chan struct{}) error {
	g, ctx := errgroup.WithContext(ctx)
	for n := range clients {
		g.Go(func() error {
			c := &worker{load: l, ctx: ctx, rng: rand.New(rand.NewPCG(l.seed, uint64(n)+100)), next: uint64(n) << 40}
			for {
				select {
				case <-enough:
					return nil
				case <-time.After(time.Duration(c.rng.Int64N(int64(2 * think)))):
				}
				if err := c.once(); err != nil {
					return err
				}
			}
		})
	}
	return g.Wait()
}

// worker is one client.
type worker struct {
	*load
	ctx  context.Context
	rng  *rand.Rand
	next uint64
	here []object // added
	gone []object // deleted, and to be added again
}

// once does one thing, which may take several requests.
func (w *worker) once() error {
	switch chance := w.rng.IntN(100); {
	case chance < 15 && len(w.here) > 0:
		return w.delete()
	case chance < 25 && len(w.gone) > 0:
		o := take(&w.gone, w.rng)
		return w.add([]object{o})
	case chance < 50 && len(w.here) > 0:
		w.get(w.here[w.rng.IntN(len(w.here))])
		return nil
	case chance < 55 && len(w.gone) > 0:
		w.get(w.gone[w.rng.IntN(len(w.gone))])
		return nil
	case chance < 80:
		return w.add(w.fresh(1))
	default:
		return w.add(w.fresh(2 + w.rng.IntN(batch-1)))
	}
}

func (w *worker) fresh(n int) []object {
	objects := make([]object, n)
	for i := range objects {
		w.next++
		o := object{n: w.next, size: min(32+int(w.rng.ExpFloat64()*6000), largest)}
		o.id = sha256.Sum256(w.content(o.n, o.size))
		objects[i] = o
	}
	return objects
}

// add adds objects, one alone by Add and several by AddBatch. After a failure
// half of the clients give up: those objects may be there or not.
func (w *worker) add(objects []object) error {
	send := make([]client.Object, len(objects))
	for i, o := range objects {
		send[i] = client.Object{ID: o.id, Content: w.content(o.n, o.size)}
	}
	patient := w.rng.IntN(2) == 0
	for {
		via, began := w.writer(), time.Now()
		var err error
		if len(send) == 1 {
			err = w.writers[via].Add(w.ctx, send[0].ID, send[0].Content)
		} else {
			_, _, err = w.writers[via].AddBatch(w.ctx, send)
		}
		for _, o := range objects {
			w.journal.record(o.id, o.size, add, via, began, err == nil)
		}
		if err == nil {
			w.acked(via, began)
			w.here = append(w.here, objects...)
			return nil
		}
		w.failed(err)
		if !patient {
			return nil
		}
		if err := w.pause(); err != nil {
			return err
		}
	}
}

// delete deletes an object, and retries until the deletion is acknowledged. An
// object whose deletion took several requests is not added again, because an old
// request may still be executed. For the same reason an object with an unanswered
// add is not deleted.
func (w *worker) delete() error {
	o := take(&w.here, w.rng)
	for tries := 1; ; tries++ {
		via, began := w.writer(), time.Now()
		err := w.writers[via].Delete(w.ctx, o.id)
		if errors.Is(err, client.ErrNotFound) {
			w.journal.check(o.id, nil, err) // as it is if an earlier request was carried out
			err = nil
		}
		w.journal.record(o.id, o.size, remove, via, began, err == nil)
		if err == nil {
			if tries == 1 {
				w.gone = append(w.gone, o)
			}
			return nil
		}
		w.failed(err)
		if err := w.pause(); err != nil {
			return err
		}
	}
}

func (w *worker) get(o object) {
	content, err := w.writers[w.writer()].Get(w.ctx, o.id)
	w.journal.check(o.id, content, err)
	if err != nil && !errors.Is(err, client.ErrNotFound) {
		w.failed(err)
	}
}

func (w *worker) writer() int { return w.rng.IntN(len(w.writers)) }

func (w *worker) pause() error {
	select {
	case <-time.After(again):
		return nil
	case <-w.ctx.Done():
		return w.ctx.Err()
	}
}

// failed counts an error by what it tells the client.
func (l *load) failed(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var answered *client.Error
	switch {
	case errors.As(err, &answered) && errors.Is(err, client.ErrUnavailable):
		l.errors["503, try again"]++
	case errors.Is(err, client.ErrUnavailable):
		l.errors["no answer"]++
	default:
		l.errors["others"]++
		l.others = append(l.others, err)
	}
}

// take removes a random object from a list.
func take(list *[]object, rng *rand.Rand) object {
	l := *list
	i := rng.IntN(len(l))
	o := l[i]
	l[i] = l[len(l)-1]
	*list = l[:len(l)-1]
	return o
}
