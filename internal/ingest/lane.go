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

// maxPause is the longest pause between two attempts to claim a shard.
const maxPause = 3 * time.Second

// lane commits one group after the other into the shard that it holds. Only
// its own goroutine uses it.
type lane struct {
	*Writer
	pauses *backoff.ExponentialBackOff // between attempts since the last commit

	claim        *sharedbase.Claim
	broken       bool             // the claim's last use had an unknown outcome: it may only be released
	total        sharedbase.Total // of the shard's table
	uncounted    bool             // total lacks what the table had before the claim
	count        *count           // of that, in the background; nil where there is none
	aside        aside            // requests with contended objects, or perhaps damaged ones
	damages      int              // transactions that failed in succession because of damage
	replaceAfter int              // so many of them, another shard is tried

	began   atomic.Pointer[time.Time] // the current step; nil while the lane waits
	failure atomic.Pointer[error]     // why the lane cannot write; nil while it can
}

func newLane(w *Writer) *lane {
	return &lane{Writer: w, pauses: newPauses(), aside: aside{refusedObjects: map[sharedbase.ObjID]error{}}, replaceAfter: maxDamages}
}

func newPauses() *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(maxPause/10),
		backoff.WithMultiplier(2),
		backoff.WithMaxInterval(maxPause*2/3), // with a jitter of a half
		backoff.WithMaxElapsedTime(0),
	)
}

// run works until the queue is closed and empty, or the writer's context ends. An
// eager lane claims a shard before there is something to add.
func (l *lane) run(eager bool) {
	defer l.end()
	if eager && l.recover(l.ctx, l.timed(func() error { return l.hold(l.ctx, sharedbase.Total{}) })) != nil {
		return
	}
	for more := true; more; {
		var group []*request
		group, more = l.next()
		err := l.timed(func() error { return l.step(l.ctx, group) })
		if err == nil {
			l.pauses.Reset()
			continue
		}
		l.refuseAside(err) // no request is answered while the lane recovers
		if l.recover(l.ctx, err) != nil {
			return
		}
	}
}

// end answers what is still set aside, and releases the shard.
func (l *lane) end() {
	l.refuseAside(sharedbase.ErrContended)
	l.release(l.ctx)
}

// next waits for a group, or for something else to do, and then returns none.
// It releases the shard while the lane is idle. more is false at the end.
func (l *lane) next() (group []*request, more bool) {
	idle := time.NewTimer(l.IdleTimeout)
	defer idle.Stop()
	retry, stop := l.aside.retry()
	defer stop()
	for {
		if group := l.queue.take(l.groupBytes, groupObjects); len(group) > 0 {
			return group, true
		}
		select {
		case <-l.queue.ready:
		case <-retry:
			return nil, true
		case <-l.counted():
			return nil, true
		case <-idle.C:
			l.release(l.ctx)
		case <-l.queue.closed:
			// What was accepted before is in the queue by now.
			group := l.queue.take(l.groupBytes, groupObjects)
			return group, len(group) > 0
		}
	}
}

// step commits a group, which may be empty, tries what is set aside, and marks a
// shard full that has reached its size.
func (l *lane) step(ctx context.Context, group []*request) error {
	if err := l.commit(ctx, group); err != nil {
		return err
	}
	if err := l.retryAside(ctx); err != nil {
		return err
	}
	l.takeCount()
	if l.claim != nil && l.full() {
		return l.fill(ctx)
	}
	return nil
}

// commit adds a group. Requests that have a refused object are set aside at once, so
// that the others do not wait for them.
func (l *lane) commit(ctx context.Context, group []*request) error {
	var pieces, deferred []piece
	for _, r := range group {
		to := &pieces
		if l.aside.has(r) {
			to = &deferred
		}
		for i := range r.objects {
			*to = append(*to, piece{r, i})
		}
	}
	left, err := l.store(ctx, pieces)
	l.answer(group, append(deferred, left...), err)
	return err
}

// add adds objects, all or none, and notes in their requests which were new.
func (l *lane) add(ctx context.Context, pieces []piece, add addFunc) error {
	objects, bytes := objectsOf(pieces)
	added, err := l.addOnce(ctx, objects, bytes, add)
	if lost := new(sharedbase.StateError); errors.As(err, &lost) {
		// Nothing was written: the proof of the claim failed. The next claim is
		// new, so it cannot have been released yet.
		added, err = l.addOnce(ctx, objects, bytes, add)
	}
	if err != nil {
		if isDamage(err) {
			l.damages++
		}
		return err
	}
	l.damages = 0
	for i, p := range pieces {
		p.stored(added.New[i])
		if len(l.aside.refusedObjects) > 0 {
			delete(l.aside.refusedObjects, p.object().ID)
		}
	}
	return nil
}

// addFunc is Add or TryAdd of [sharedbase.SharedBase].
type addFunc func(context.Context, *sharedbase.Claim, []sharedbase.Object) (sharedbase.Added, error)

func (l *lane) addOnce(ctx context.Context, objects []sharedbase.Object, bytes int64, add addFunc) (sharedbase.Added, error) {
	given := sharedbase.Total{Objects: int64(len(objects)), Bytes: bytes}
	if err := l.hold(ctx, given); err != nil {
		return sharedbase.Added{}, err
	}
	start := time.Now()
	added, err := add(ctx, l.claim, objects)
	l.Metrics.Committed(time.Since(start), err)
	switch {
	case err == nil:
		l.grow(sharedbase.Total{Objects: int64(added.Objects), Bytes: added.Bytes})
	case sharedbase.Refused(err):
	case errors.Is(err, sharedbase.ErrFull):
		l.broken = true
	default:
		l.broken = true
		l.grow(given) // all may be there
	}
	return added, err
}

// recover gets the lane a new claim after err, unless that is nil. It fails
// when ctx ends or the writer is closed.
func (l *lane) recover(ctx context.Context, err error) error {
	for err != nil {
		pause := l.pauses.NextBackOff()
		l.failing(err, pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		case <-l.queue.closed:
			return ErrClosed
		}
		err = l.timed(func() error { return l.hold(ctx, sharedbase.Total{}) })
	}
	l.failure.Store(nil)
	return nil
}

// failing notes why adds have to wait.
func (l *lane) failing(err error, pause time.Duration) {
	l.failure.Store(&err)
	l.Log.Warn("cannot write objects, retrying", "err", err, "retry_in", pause)
}

// timed executes a step whose duration Busy reports.
func (l *lane) timed(step func() error) error {
	now := time.Now()
	l.began.Store(&now)
	defer l.began.Store(nil)
	return step()
}
