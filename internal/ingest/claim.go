// SPDX-License-Identifier: GPL-3.0-or-later

package ingest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"winery/sharedbase"
)

// hold sees to it that the lane holds a shard that is not full, with room for
// a group.
func (l *lane) hold(ctx context.Context, group sharedbase.Total) error {
	for {
		var err error
		switch {
		case l.claim == nil || l.broken || l.claim.Lost():
			err = l.claimNext(ctx)
		case l.full(), l.total.Objects > 0 && !l.fits(group):
			err = l.fill(ctx)
		default:
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// maxSize is the size at which the lane's shard is full.
func (l *lane) maxSize() int64 {
	if size, ok := l.OtherPools[l.claim.Pool()]; ok {
		return size
	}
	return l.ShardMaxSize
}

// fits reports whether a group has room in the shard's image.
func (l *lane) fits(group sharedbase.Total) bool {
	return l.Pools[l.claim.Pool()].Format().SizeBound(l.total.Objects+group.Objects, l.total.Bytes+group.Bytes) <= 2*l.maxSize()
}

// claimNext claims a shard in place of the one that is broken, lost or missing.
func (l *lane) claimNext(ctx context.Context) error {
	l.release(ctx)
	if err := ctx.Err(); err != nil {
		return err
	}
	claim, err := l.Base.LockWritingShard(ctx, l.Pool, slices.Sorted(maps.Keys(l.OtherPools))...)
	if err != nil {
		return err
	}
	total, known := claim.Total()
	l.claim, l.broken, l.total, l.uncounted = claim, false, total, !known
	if l.uncounted {
		l.startCount()
	}
	l.Log.Info("writing to a shard", "shard", claim.Name(), "pool", claim.Pool(), "objects", total.Objects, "bytes", total.Bytes, "counted", known)
	return nil
}

// fill hands the shard on to the packers.
func (l *lane) fill(ctx context.Context) error {
	l.stopCount()
	if err := l.claim.SetState(ctx, sharedbase.StateFull); err != nil {
		l.broken = true
		return fmt.Errorf("marking a shard full: %w", err)
	}
	l.Log.Info("shard is full", "shard", l.claim.Name(), "objects", l.total.Objects, "bytes", l.total.Bytes)
	l.claim = nil
	return nil
}

// release releases the shard, if the lane has one. After a failure the lane keeps the
// claim, only for claimNext to release it; the lease is not renewed any more, so that
// its end frees the shard otherwise. Once ctx has ended, there is no second attempt.
func (l *lane) release(ctx context.Context) {
	if l.claim == nil {
		return
	}
	log := l.Log.With("shard", l.claim.Name())
	l.stopCount()
	var err error
	if l.uncounted {
		err = l.claim.Release(ctx)
	} else {
		err = l.claim.ReleaseWithTotal(ctx, l.total)
	}
	switch lost := new(sharedbase.StateError); {
	case err == nil:
		log.Info("shard released", "objects", l.total.Objects, "bytes", l.total.Bytes)
	case errors.As(err, &lost):
		l.Metrics.LeaseLost("writer")
		log.Warn("shard was taken by another process", "err", err)
	default:
		log.Warn("cannot release the shard: it stays locked until a retry succeeds or its lease expires", "err", err)
		if ctx.Err() == nil {
			l.broken = true
			return
		}
	}
	l.claim = nil
}
