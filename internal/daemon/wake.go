// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"winery/sharedbase"
)

// wakeInterval is the least time between two idle waits that a notification
// ends: what comes within it makes one step together.
const wakeInterval = time.Second

// steady is how long a connection must have lasted for its end to be logged as
// a new outage.
const steady = time.Minute

// waker is what wakes a loop: shards that come into one of states, and hosts that map
// shards in one of them. Any number of changes since the channel was last read are one
// value in it.
type waker struct {
	states []sharedbase.ShardState
	up     chan struct{}
}

func newWaker(states ...sharedbase.ShardState) waker { return waker{states, make(chan struct{}, 1)} }

// hear is called for a change of a shard, and with no name where changes may have been
// missed.
func (w waker) hear(shard string, state sharedbase.ShardState) {
	if shard != "" && !slices.Contains(w.states, state) {
		return
	}
	select {
	case w.up <- struct{}{}:
	default: // one that is not read yet does for both
	}
}

// listen listens in the background, until ctx ends, for what wakes loops. Each start of
// listening wakes them, too, because changes may have been missed. While listening is
// not possible, which is logged once per outage, none is woken.
func listen(ctx context.Context, base *sharedbase.SharedBase, log *slog.Logger, wakers ...waker) {
	heard := func(shard string, state sharedbase.ShardState) {
		for _, w := range wakers {
			w.hear(shard, state)
		}
	}
	go func() {
		wait := newBackOff()
		level := slog.LevelWarn
		for ctx.Err() == nil {
			began := time.Now()
			err := base.Listen(ctx, heard)
			switch {
			case ctx.Err() != nil:
				return
			case errors.Is(err, sharedbase.ErrPooled):
				log.Info("a connection pooler delivers no notifications: polling the database instead", "err", err)
				return
			case time.Since(began) > steady:
				wait.Reset()
				level = slog.LevelWarn
			}
			log.Log(ctx, level, "not listening to the database; polling continues", "err", err)
			level = slog.LevelDebug
			select {
			case <-time.After(wait.NextBackOff()):
			case <-ctx.Done():
			}
		}
	}()
}
