// SPDX-License-Identifier: GPL-3.0-or-later

package ingest

import (
	"context"
	"errors"
	"fmt"

	"winery/shard"
	"winery/sharedbase"
)

// hold sees to it that the lane holds a shard that is not full, with room for
// a group.
func (l *lane) hold(ctx context.Context, objects, bytes int64) error {
	for {
		var err error
		switch image := shard.SizeBound(l.objects+objects, l.bytes+bytes); {
		case l.claim == nil || l.broken || l.claim.Lost():
			err = l.claimNext(ctx)
		case l.bytes >= l.ShardMaxSize, l.objects > 0 && image > 2*l.ShardMaxSize:
			err = l.fill(ctx)
		default:
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// claimNext claims a shard in place of the one that is broken, lost or missing.
func (l *lane) claimNext(ctx context.Context) error {
	l.release(ctx)
	claim, err := l.Base.LockWritingShard(ctx, l.Pool)
	if err != nil {
		return err
	}
	l.claim, l.broken = claim, false
	if l.objects, l.bytes, err = l.Base.TableSize(ctx, claim.Name()); err != nil {
		l.broken = true
		return err
	}
	l.Log.Info("writing to a shard", "shard", claim.Name(), "objects", l.objects, "bytes", l.bytes)
	return nil
}

// fill hands the shard on to the packers.
func (l *lane) fill(ctx context.Context) error {
	if err := l.claim.SetState(ctx, sharedbase.StateFull); err != nil {
		l.broken = true
		return fmt.Errorf("marking a shard full: %w", err)
	}
	l.Log.Info("shard is full", "shard", l.claim.Name(), "objects", l.objects, "bytes", l.bytes)
	l.claim = nil
	return nil
}

// release gives the shard back, if the lane has one. One that could not be
// given back is broken, and tried once more before the next claim.
func (l *lane) release(ctx context.Context) {
	if l.claim == nil {
		return
	}
	log := l.Log.With("shard", l.claim.Name())
	err := l.claim.Release(ctx)
	switch lost := new(sharedbase.StateError); {
	case err == nil:
		log.Info("released the shard", "objects", l.objects, "bytes", l.bytes)
		l.claim = nil
	case errors.As(err, &lost):
		log.Warn("the shard had been taken away", "error", err)
		l.claim = nil
	default:
		log.Warn("the shard stays locked", "error", err)
		l.broken = true
	}
}
