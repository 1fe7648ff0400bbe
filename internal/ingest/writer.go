// SPDX-License-Identifier: GPL-3.0-or-later

package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"winery/internal/metrics"
	"winery/pool"
	"winery/sharedbase"
)

var (
	// ErrBusy: more comes in than the database takes, or it is unavailable. The
	// caller should repeat after a few seconds.
	ErrBusy = errors.New("the writer is busy, try again later")
	// ErrClosed: the writer is shutting down, or did.
	ErrClosed = errors.New("the writer is shutting down")
)

// Options say how to write. Zero values stand for the defaults.
type Options struct {
	Base         *sharedbase.SharedBase // stays open until after Close
	Pools        map[string]pool.Pool   // by name: their formats determine the room of an image
	Pool         string                 // the pool of new shards
	ShardMaxSize int64                  // of the pool: content bytes at which a shard is full
	OtherPools   map[string]int64       // pools whose standby shards are filled, too: ShardMaxSize by name
	IdleTimeout  time.Duration          // 300 s
	Writers      int                    // lanes, each with a shard of its own; 1
	Metrics      *metrics.Client        // may be nil
	Log          *slog.Logger

	// QueueBytes bounds the memory of adds in flight: contents, and a little
	// for each object. An object that is larger goes alone. Requests that are set
	// aside have a quarter of it beside that. 128 MiB.
	QueueBytes int64
	// QueueWait is how long an add may wait to be taken by a lane before it is
	// refused with ErrBusy, and how long for contended objects, and for the search for
	// damaged ones. 10 s.
	QueueWait time.Duration
}

const (
	// A group's bounds. A group of objects of the usual size, 10 kB, is bounded
	// by both alike. Shards have room for several groups, see groupBytes.
	groupBytes   = 32 << 20
	groupObjects = 4096
)

// Writer adds objects. Add may be called concurrently.
type Writer struct {
	Options
	queue      *queue
	groupBytes int64
	lanes      sync.WaitGroup
	all        []*lane
	ctx        context.Context // of the lanes' work; ends if Close times out
	cancel     context.CancelFunc
}

// New prepares a writer without any I/O.
func New(o Options) *Writer {
	if o.ShardMaxSize <= 0 {
		o.ShardMaxSize = math.MaxInt64 / 2 // never full
	}
	if o.IdleTimeout <= 0 {
		o.IdleTimeout = 300 * time.Second
	}
	if o.QueueBytes <= 0 {
		o.QueueBytes = 128 << 20
	}
	if o.QueueWait <= 0 {
		o.QueueWait = 10 * time.Second
	}
	w := &Writer{Options: o, queue: newQueue(o.QueueBytes, o.Metrics), groupBytes: min(groupBytes, o.ShardMaxSize/2)}
	for _, size := range o.OtherPools {
		w.groupBytes = min(w.groupBytes, size/2)
	}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	for range max(1, w.Writers) {
		w.all = append(w.all, newLane(w))
	}
	return w
}

// Start begins to work. The first lane claims a shard at once, the others when
// there is something to add. It is called once.
func (w *Writer) Start() {
	for i, l := range w.all {
		w.lanes.Go(func() { l.run(i == 0) })
	}
}

// Failure is why a lane cannot write, nil while all can.
func (w *Writer) Failure() error {
	for _, l := range w.all {
		if failure := l.failure.Load(); failure != nil {
			return *failure
		}
	}
	return nil
}

// Busy is the age of the oldest step that a lane has not finished, 0 where all
// lanes wait.
func (w *Writer) Busy() (d time.Duration) {
	for _, l := range w.all {
		if began := l.began.Load(); began != nil {
			d = max(d, time.Since(*began))
		}
	}
	return d
}

// Add stores objects and returns, after they are committed, which of them were
// new. Objects that are stored already, by whomever, count as added but not as
// new; of equal objects added at the same moment one is new. After an error
// some or all may be stored; the call can be repeated. ErrBusy, ErrClosed,
// [sharedbase.ErrUnavailable], [sharedbase.ErrFull].
//
// ctx ends the wait for a lane. Once a lane has taken the objects, Add returns
// when their outcome is known, even if ctx has ended, and keeps no reference to
// them.
func (w *Writer) Add(ctx context.Context, objects []sharedbase.Object) (sharedbase.Added, error) {
	var all sharedbase.Added
	for len(objects) > 0 {
		r := newRequest(objects, w.groupBytes)
		if err := w.wait(ctx, r); err != nil {
			return sharedbase.Added{}, err
		}
		all.New = append(all.New, r.added.New...)
		all.Objects += r.added.Objects
		all.Bytes += r.added.Bytes
		objects = objects[len(r.objects):]
	}
	return all, nil
}

// wait puts a request into the queue and waits for its answer.
func (w *Writer) wait(ctx context.Context, r *request) error {
	patience, cancel := context.WithTimeoutCause(ctx, w.QueueWait, ErrBusy)
	defer cancel()
	if err := w.queue.put(patience, r); err != nil {
		if cause := context.Cause(patience); cause != nil {
			err = w.refusal(cause)
		}
		return err
	}
	select {
	case <-r.done:
	case <-patience.Done():
		if w.queue.withdraw(r) {
			return w.refusal(context.Cause(patience))
		}
		<-r.done
	}
	return r.err
}

// refusal adds to ErrBusy why the lanes cannot write.
func (w *Writer) refusal(err error) error {
	if failure := w.Failure(); failure != nil && errors.Is(err, ErrBusy) {
		return fmt.Errorf("%w: %w", err, failure)
	}
	return err
}

// Close refuses further adds, commits and answers those that were accepted,
// and releases the shards. If ctx ends first, what is still in flight is cut off
// and answered with an error, and Close returns at most twenty seconds later: a
// commit by which a shard is claimed or marked full has ten seconds more, and so has
// a release. A shard that could not be released stays locked until its lease ends.
func (w *Writer) Close(ctx context.Context) error {
	w.queue.close()
	stop := context.AfterFunc(ctx, w.cancel)
	defer stop()
	w.lanes.Wait()
	// Lanes leave adds behind only where the database is unavailable.
	for _, r := range w.queue.take(math.MaxInt64, math.MaxInt) {
		w.queue.answer(r, ErrClosed)
	}
	if w.ctx.Err() != nil {
		return fmt.Errorf("shutdown of the writer was cut off: %w", context.Cause(ctx))
	}
	return nil
}
