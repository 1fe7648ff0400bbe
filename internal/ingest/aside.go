// SPDX-License-Identifier: GPL-3.0-or-later

package ingest

import (
	"context"
	"math"
	"slices"
	"time"

	"winery/sharedbase"
)

const (
	// splitTime is how long a lane looks for the objects for which a group was refused
	// before it sets aside all that is not stored.
	splitTime = time.Second
	// retryInterval is how often the objects that are set aside are tried, and
	// retryTime how long at once: the remaining time is for others.
	retryInterval = 500 * time.Millisecond
	retryTime     = 200 * time.Millisecond
	// refusedFor is how long after the last try an object counts as refused.
	refusedFor = 30 * time.Second
	// maxRefused is how many refused objects a lane remembers at most.
	maxRefused = 10_000
	// maxDamages is how many transactions fail in succession because of damage until that
	// is taken for damage of the shard's table, or of all, not of single objects. Another shard
	// shows which. The number doubles with each such attempt that fails.
	maxDamages = 20
)

// aside has what a lane could not store because other transactions hold rows, or the
// database's data are damaged.
type aside struct {
	requests []*request // not answered yet
	pieces   []piece    // of the requests, not stored yet
	tried    time.Time  // when a refused object was tried last
	// refusedObjects are the objects that were refused when they were tried last, alone or
	// with others, and why.
	refusedObjects map[sharedbase.ObjID]error
}

// has reports whether an object of the request was refused when it was tried last.
func (a *aside) has(r *request) bool {
	if len(a.refusedObjects) == 0 {
		return false
	}
	if time.Since(a.tried) > refusedFor && len(a.requests) == 0 {
		clear(a.refusedObjects)
	}
	return slices.ContainsFunc(r.objects, func(o sharedbase.Object) bool { return a.refusedObjects[o.ID] != nil })
}

// reason returns why the request is not stored.
func (a *aside) reason(r *request) error {
	for _, o := range r.objects {
		if err := a.refusedObjects[o.ID]; err != nil {
			return err
		}
	}
	return sharedbase.ErrContended
}

// noteRefused notes why objects were refused.
func (a *aside) noteRefused(p part) {
	if len(a.refusedObjects)+len(p.pieces) > maxRefused {
		clear(a.refusedObjects)
	}
	for _, piece := range p.pieces {
		a.refusedObjects[piece.object().ID] = p.err
	}
}

// retry returns a channel that signals when the next attempt is due: never, if
// nothing is set aside.
func (a *aside) retry() (due <-chan time.Time, stop func()) {
	if len(a.requests) == 0 {
		return nil, func() {}
	}
	timer := time.NewTimer(time.Until(a.tried.Add(retryInterval)))
	return timer.C, func() { timer.Stop() }
}

// store adds objects. Where some are refused it adds the others, and returns those that
// are not stored.
func (l *lane) store(ctx context.Context, pieces []piece) (left []piece, err error) {
	if len(pieces) == 0 {
		return nil, nil
	}
	err = l.add(ctx, pieces, l.Base.Add)
	if l.refused(err) {
		return l.split(ctx, part{pieces, err}, splitTime, l.replaceAfter)
	}
	return nil, err
}

// retryAside tries what is set aside, if it is time.
func (l *lane) retryAside(ctx context.Context) error {
	a := &l.aside
	if len(a.requests) == 0 || time.Since(a.tried) < retryInterval {
		return nil
	}
	requests, pieces := a.requests, a.pieces
	a.requests, a.pieces = nil, nil
	damages := l.damages
	err := l.add(ctx, pieces, l.Base.TryAdd)
	var left []piece
	if l.refused(err) {
		left, err = l.split(ctx, part{pieces, err}, retryTime, math.MaxInt)
	}
	l.damages = damages // that refused objects fail again says nothing of the table
	l.answer(requests, left, err)
	return err
}

// refuseAside answers what is set aside. Of its pieces nothing is written: each was
// refused, or not tried.
func (l *lane) refuseAside(err error) {
	a := &l.aside
	for _, r := range a.requests {
		l.queue.answer(r, err)
	}
	a.requests, a.pieces = nil, nil
}

// answer responds to requests: with err if there is one, and else those of which
// all is stored, or an object is damaged. The others are set aside, with their objects
// that are left, unless they have been for too long or there is no memory for more.
func (l *lane) answer(requests []*request, left []piece, err error) {
	a, now := &l.aside, time.Now()
	for _, r := range requests {
		if r.expires.IsZero() {
			r.expires = now.Add(l.QueueWait)
		}
		switch {
		case err != nil, r.missing == 0:
			l.queue.answer(r, err)
		case r.refused != nil:
			l.queue.answer(r, r.refused)
		case now.After(r.expires), !l.queue.setAside(r):
			l.queue.answer(r, a.reason(r))
		default:
			a.requests = append(a.requests, r)
		}
	}
	for _, p := range left {
		if !p.request.answered {
			a.pieces = append(a.pieces, p)
		}
	}
}
