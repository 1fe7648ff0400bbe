// SPDX-License-Identifier: GPL-3.0-or-later

package ingest

import (
	"context"
	"time"

	"winery/sharedbase"
)

// count counts in the background what the table of a lane's shard had before.
type count struct {
	stop  context.CancelFunc
	since sharedbase.Total // what the lane had added when the count began
	done  chan struct{}    // closed once total or err is there
	total sharedbase.Total
	err   error
}

// startCount begins to count the table of the lane's shard.
func (l *lane) startCount() {
	ctx, stop := context.WithCancel(l.ctx)
	c := &count{stop: stop, since: l.total, done: make(chan struct{})}
	name := l.claim.Name()
	l.lanes.Go(func() {
		defer close(c.done)
		c.total.Objects, c.total.Bytes, c.err = l.Base.TableSize(ctx, name)
		if c.err != nil { // the next count begins after a pause
			select {
			case <-time.After(maxPause):
			case <-ctx.Done():
			}
		}
	})
	l.count = c
}

// counted returns a channel that is closed once a count has ended: never, where
// there is none.
func (l *lane) counted() <-chan struct{} {
	if l.count == nil {
		return nil
	}
	return l.count.done
}

// stopCount ends a count without its result, if there is one.
func (l *lane) stopCount() {
	if l.count != nil {
		l.count.stop()
		l.count = nil
	}
}

// takeCount adds to the total what was counted, if a count has ended.
func (l *lane) takeCount() {
	select {
	default:
	case <-l.counted():
		c, log := l.count, l.Log.With("shard", l.claim.Name())
		l.stopCount()
		if c.err != nil {
			log.Warn("cannot count the shard's objects, retrying", "err", c.err)
			l.startCount()
			return
		}
		l.uncounted = false
		l.grow(c.total)
		l.grow(sharedbase.Total{Objects: -c.since.Objects, Bytes: -c.since.Bytes})
		log.Info("counted the shard's objects", "objects", l.total.Objects, "bytes", l.total.Bytes)
	}
}

func (l *lane) grow(by sharedbase.Total) {
	l.total.Objects += by.Objects
	l.total.Bytes += by.Bytes
}

// full reports whether the shard has reached its size; or, while that is being
// counted, whether half of it was added, which leaves room in the image.
func (l *lane) full() bool {
	size := l.maxSize()
	if l.uncounted {
		size /= 2
	}
	return l.total.Bytes >= size
}
