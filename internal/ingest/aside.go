// SPDX-License-Identifier: GPL-3.0-or-later

package ingest

import (
	"context"
	"errors"
	"slices"
	"time"

	"winery/sharedbase"
)

const (
	// splitTime is how long a lane looks for the contended objects of a group
	// before it sets aside all that is not stored.
	splitTime = time.Second
	// retryInterval is how often the objects that are set aside are tried, and
	// retryTime how long at once: the remaining time is for others.
	retryInterval = 500 * time.Millisecond
	retryTime     = 200 * time.Millisecond
	// contendedFor is how long after the last try an object is thought contended.
	contendedFor = 30 * time.Second
)

// aside has what a lane could not store because other transactions hold rows.
type aside struct {
	requests []*request // not answered yet
	pieces   []piece    // of the requests, not stored yet
	cost     int64      // of the requests, in the queue's memory
	tried    time.Time  // when a contended object was tried last
	// contended are the objects that were contended when they were tried last.
	contended map[sharedbase.ObjID]bool
}

// has reports whether an object of the request is thought contended.
func (a *aside) has(r *request) bool {
	if len(a.contended) == 0 {
		return false
	}
	if time.Since(a.tried) > contendedFor && len(a.requests) == 0 {
		clear(a.contended)
	}
	return slices.ContainsFunc(r.objects, func(o sharedbase.Object) bool { return a.contended[o.ID] })
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

// store adds objects. Where some are contended it adds the others, and returns
// those that are not stored.
func (l *lane) store(ctx context.Context, pieces []piece) (left []piece, err error) {
	if len(pieces) == 0 {
		return nil, nil
	}
	err = l.add(ctx, pieces, l.Base.Add)
	if errors.Is(err, sharedbase.ErrContended) {
		return l.split(ctx, pieces, splitTime)
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
	a.requests, a.pieces, a.cost = nil, nil, 0
	err := l.add(ctx, pieces, l.Base.TryAdd)
	var left []piece
	if errors.Is(err, sharedbase.ErrContended) {
		left, err = l.split(ctx, pieces, retryTime)
	}
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
	a.requests, a.pieces, a.cost = nil, nil, 0
}

// split adds in parts what is contended as a whole, for a limited time, and
// returns what is not stored then. Where many objects are contended, one
// transaction holds them, as a rule, and there is no point in looking for each.
func (l *lane) split(ctx context.Context, pieces []piece, limit time.Duration) (left []piece, err error) {
	until := time.Now().Add(limit)
	parts := [][]piece{pieces} // contended, in reverse order
	for len(parts) > 0 {
		part := parts[len(parts)-1]
		parts = parts[:len(parts)-1]
		if len(part) == 1 || time.Now().After(until) {
			left = append(left, part...)
			continue
		}
		for _, half := range [][]piece{part[len(part)/2:], part[:len(part)/2]} {
			err := l.add(ctx, half, l.Base.TryAdd)
			switch {
			case errors.Is(err, sharedbase.ErrContended):
				parts = append(parts, half)
			case err != nil:
				return nil, err
			}
		}
	}
	l.aside.tried = time.Now()
	for _, p := range left {
		l.aside.contended[p.object().ID] = true
	}
	return left, nil
}

// answer responds to requests: with err if there is one, and else those of which
// all is stored. The others are set aside, with their objects that are left,
// unless they have been for too long or there is no memory for more.
func (l *lane) answer(requests []*request, left []piece, err error) {
	a, now := &l.aside, time.Now()
	for _, r := range requests {
		if r.expires.IsZero() {
			r.expires = now.Add(l.QueueWait)
		}
		cost := l.queue.cost(r)
		switch {
		case err != nil, r.missing == 0:
			l.queue.answer(r, err)
		case now.After(r.expires), a.cost+cost > l.queue.size/4:
			l.queue.answer(r, sharedbase.ErrContended)
		default:
			a.requests = append(a.requests, r)
			a.cost += cost
		}
	}
	for _, p := range left {
		if !p.request.answered {
			a.pieces = append(a.pieces, p)
		}
	}
}
