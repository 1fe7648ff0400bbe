// SPDX-License-Identifier: GPL-3.0-or-later

package ingest

import (
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"winery/internal/metrics"
	"winery/sharedbase"
)

// objectCost is charged for each object in memory on top of its content.
const objectCost = 256

// request is an add that waits for its answer.
type request struct {
	objects []sharedbase.Object
	bytes   int64 // of their contents
	taken   bool  // by a lane; guarded by queue.mu
	queued  time.Time

	// The lane's that has taken the request:
	missing  int // how many objects are not stored yet
	added    sharedbase.Added
	expires  time.Time // when it is refused if objects are still not stored; zero: not tried yet
	refused  error     // an object of it cannot be stored
	aside    bool      // its memory is that of requests that are set aside
	answered bool

	err  error
	done chan struct{} // closed once added or err is there
}

// piece is one object of a request.
type piece struct {
	request *request
	index   int
}

func (p piece) object() sharedbase.Object { return p.request.objects[p.index] }

func objectsOf(pieces []piece) (objects []sharedbase.Object, bytes int64) {
	objects = make([]sharedbase.Object, len(pieces))
	for i, p := range pieces {
		objects[i] = p.object()
		bytes += int64(len(objects[i].Content))
	}
	return objects, bytes
}

// stored notes that the object is stored, and whether it was new.
func (p piece) stored(isNew bool) {
	r := p.request
	r.missing--
	if isNew {
		r.added.New[p.index] = true
		r.added.Objects++
		r.added.Bytes += int64(len(p.object().Content))
	}
}

// newRequest is a request for as many of the objects as make a group, at least
// one.
func newRequest(objects []sharedbase.Object, groupBytes int64) *request {
	r := &request{done: make(chan struct{})}
	for n := range objects {
		size := int64(len(objects[n].Content))
		if n == groupObjects || n > 0 && r.bytes+size > groupBytes {
			break
		}
		r.bytes += size
		r.objects = objects[:n+1]
	}
	r.missing, r.added.New = len(r.objects), make([]bool, len(r.objects))
	return r
}

// queue holds the adds that wait, first come first served, and counts the
// memory of these and of those being committed.
type queue struct {
	room    *semaphore.Weighted // in bytes
	aside   *semaphore.Weighted // in bytes, for requests that are set aside: adds do not wait for their end
	size    int64               // of room; aside has a quarter of it beside that
	metrics *metrics.Client
	ready   chan struct{} // holds a token if adds wait and a lane may not know
	closed  chan struct{} // closed: nothing is accepted any more

	mu      sync.Mutex
	waiting []*request
}

func newQueue(size int64, m *metrics.Client) *queue {
	return &queue{
		room: semaphore.NewWeighted(size), aside: semaphore.NewWeighted(size / 4), size: size, metrics: m,
		ready: make(chan struct{}, 1), closed: make(chan struct{}),
	}
}

func (q *queue) cost(r *request) int64 {
	return min(r.bytes+objectCost*int64(len(r.objects)), q.size)
}

// put waits for room until ctx ends. What it accepted is answered.
func (q *queue) put(ctx context.Context, r *request) error {
	if err := q.room.Acquire(ctx, q.cost(r)); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.isClosed() {
		q.room.Release(q.cost(r))
		return ErrClosed
	}
	r.queued = time.Now()
	q.waiting = append(q.waiting, r)
	q.metrics.AddsWaiting(1)
	q.metrics.AddsMemory(q.cost(r))
	q.signal()
	return nil
}

// take removes the adds that have waited longest: as many as stay within the
// bounds together, and at least one if any waits.
func (q *queue) take(bytes int64, objects int) []*request {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for _, r := range q.waiting {
		bytes -= r.bytes
		objects -= len(r.objects)
		if n > 0 && (bytes < 0 || objects < 0) {
			break
		}
		r.taken = true
		q.metrics.AddQueued(time.Since(r.queued))
		n++
	}
	if n == 0 {
		return nil
	}
	q.metrics.AddsWaiting(-n)
	group := slices.Clone(q.waiting[:n])
	q.waiting = slices.Delete(q.waiting, 0, n)
	if len(q.waiting) > 0 {
		q.signal()
	}
	return group
}

// setAside moves a request that was taken to the memory of requests that are set aside. It returns
// false where that has no room.
func (q *queue) setAside(r *request) bool {
	if r.aside {
		return true
	}
	if !q.aside.TryAcquire(q.cost(r)) {
		return false
	}
	r.aside = true
	q.room.Release(q.cost(r))
	return true
}

// answer ends a request that was taken: with err, or what was added.
func (q *queue) answer(r *request, err error) {
	r.err, r.answered = err, true
	q.free(r)
	close(r.done)
}

// free releases the memory of a request.
func (q *queue) free(r *request) {
	memory := q.room
	if r.aside {
		memory = q.aside
	}
	memory.Release(q.cost(r))
	q.metrics.AddsMemory(-q.cost(r))
}

// withdraw removes a request whose caller no longer waits. It returns false if a
// lane has taken the request already.
func (q *queue) withdraw(r *request) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if r.taken {
		return false
	}
	q.waiting = slices.DeleteFunc(q.waiting, func(w *request) bool { return w == r })
	q.metrics.AddsWaiting(-1)
	q.free(r)
	return true
}

// close refuses what comes from now on; what waits can still be taken.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.isClosed() {
		close(q.closed)
	}
}

func (q *queue) isClosed() bool {
	select {
	case <-q.closed:
		return true
	default:
		return false
	}
}

func (q *queue) signal() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}
