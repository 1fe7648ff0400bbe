// SPDX-License-Identifier: GPL-3.0-or-later

package ingest

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"

	"winery/sharedbase"
)

// lane commits one group after the other into the shard that it holds. Only
// its own goroutine uses it.
type lane struct {
	*Writer
	pauses *backoff.ExponentialBackOff // between attempts since the last commit

	claim   *sharedbase.Claim
	broken  bool // the claim's last use had an unclear end: only to give back
	objects int64
	bytes   int64 // of the contents in the shard's table

	began atomic.Pointer[time.Time] // with what it is at; nil while it waits
}

func newLane(w *Writer) *lane {
	pauses := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(time.Second),
		backoff.WithMultiplier(2),
		backoff.WithMaxInterval(60*time.Second),
		backoff.WithMaxElapsedTime(0),
	)
	return &lane{Writer: w, pauses: pauses}
}

// run works until the queue is closed and empty, or ctx ends.
func (l *lane) run() {
	defer l.release(l.ctx)
	for group := l.next(); group != nil; group = l.next() {
		err := l.timed(func() error { return l.commit(l.ctx, group) })
		if err == nil {
			l.pauses.Reset()
			continue
		}
		if l.recover(l.ctx, err) != nil {
			return
		}
	}
}

// next waits for a group, and gives the shard back while it waits too long. It
// returns nil when there will be no more.
func (l *lane) next() []*request {
	idle := time.NewTimer(l.IdleTimeout)
	defer idle.Stop()
	for {
		if group := l.queue.take(l.groupBytes, groupObjects); len(group) > 0 {
			return group
		}
		select {
		case <-l.queue.ready:
		case <-idle.C:
			l.release(l.ctx)
		case <-l.queue.closed:
			// What was accepted before is in the queue by now.
			return l.queue.take(l.groupBytes, groupObjects)
		}
	}
}

// commit adds a group, and answers it. A shard that is full then is marked so.
func (l *lane) commit(ctx context.Context, group []*request) error {
	var objects []sharedbase.Object
	var bytes int64
	for _, r := range group {
		objects = append(objects, r.objects...)
		bytes += r.bytes
	}
	added, err := l.add(ctx, objects, bytes)
	if lost := new(sharedbase.StateError); errors.As(err, &lost) {
		// Nothing was written: the proof of the claim failed. The next claim is
		// a new one, which nobody has released yet.
		added, err = l.add(ctx, objects, bytes)
	}
	news := added.New
	for _, r := range group {
		if r.err = err; err == nil {
			r.added, news = share(r, news), news[len(r.objects):]
		}
		l.queue.answer(r)
	}
	if err == nil && l.bytes >= l.ShardMaxSize {
		err = l.fill(ctx)
	}
	return err
}

// share is a request's part of what its group added. news begins with the
// request's objects.
func share(r *request, news []bool) sharedbase.Added {
	added := sharedbase.Added{New: news[:len(r.objects):len(r.objects)]}
	for i := range r.objects {
		if added.New[i] {
			added.Objects++
			added.Bytes += int64(len(r.objects[i].Content))
		}
	}
	return added
}

func (l *lane) add(ctx context.Context, objects []sharedbase.Object, bytes int64) (sharedbase.Added, error) {
	if err := l.hold(ctx, int64(len(objects)), bytes); err != nil {
		return sharedbase.Added{}, err
	}
	added, err := l.Base.Add(ctx, l.claim, objects)
	if err != nil {
		l.broken = true
		return sharedbase.Added{}, err
	}
	l.objects += int64(added.Objects)
	l.bytes += added.Bytes
	return added, nil
}

// recover gets the lane a new claim after err, unless that is nil. It fails
// when ctx ends or the writer is closed.
func (l *lane) recover(ctx context.Context, err error) error {
	for err != nil {
		pause := l.pauses.NextBackOff()
		l.Log.Warn("cannot write objects, trying again", "error", err, "pause", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		case <-l.queue.closed:
			return ErrClosed
		}
		err = l.timed(func() error { return l.hold(ctx, 0, 0) })
	}
	return nil
}

// timed does work that Busy is to know of.
func (l *lane) timed(work func() error) error {
	now := time.Now()
	l.began.Store(&now)
	defer l.began.Store(nil)
	return work()
}
