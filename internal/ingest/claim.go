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
	l.take(claim, sharedbase.Added{})
	l.Log.Info("writing to a shard", "shard", claim.Name(), "pool", claim.Pool(), "objects", l.total.Objects, "bytes", l.total.Bytes, "counted", !l.uncounted)
	return nil
}

// take makes a shard the lane's, to which it has added something already.
func (l *lane) take(claim *sharedbase.Claim, added sharedbase.Added) {
	total, known := claim.Total()
	total.Objects += int64(added.Objects)
	total.Bytes += added.Bytes
	l.claim, l.broken, l.total, l.uncounted = claim, false, total, !known
	if l.uncounted {
		l.startCount()
	}
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

// replaceShard stores in another shard what the lane's shard has refused because of damage.
// If the other shard takes it, the table of the lane's is to blame: that one is marked
// full, which loses nothing, and a packer says what is damaged; the lane continues with the
// other one. Otherwise the lane keeps its shard: damage of more than a table, an outage or a full
// disk fills none. The next attempt takes the same shard, so that damage of all leaves no
// number of empty shards.
func (l *lane) replaceShard(ctx context.Context, p part) (stored bool) {
	if !isDamage(p.err) {
		return false
	}
	l.replaceAfter *= 2
	claim, err := l.Base.LockWritingShard(ctx, l.Pool)
	if err != nil {
		return false
	}
	objects, _ := objectsOf(p.pieces)
	added, err := l.Base.TryAdd(ctx, claim, objects)
	if err == nil {
		l.Log.Warn("the shard's table is damaged, writing to another shard", "shard", l.claim.Name(), "other_shard", claim.Name(), "err", p.err)
		err = l.fill(ctx)
	}
	if err != nil {
		_ = claim.Release(ctx) // or its lease ends
		return false
	}
	l.take(claim, added)
	l.replaceAfter = maxDamages
	for i, piece := range p.pieces {
		piece.stored(added.New[i])
	}
	return true
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
