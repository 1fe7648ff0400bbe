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

// wakeOn listens in the background, until ctx ends, for shards that come into one
// of states, and for hosts that map shards in one of them. Any number of changes
// since the channel was last read are one value in it. Each start of listening
// sends a value, too, because changes may have been missed. While listening is
// not possible, which is logged once per outage, the channel has no values.
func wakeOn(ctx context.Context, base *sharedbase.SharedBase, log *slog.Logger, states ...sharedbase.ShardState) <-chan struct{} {
	wake := make(chan struct{}, 1)
	heard := func(shard string, state sharedbase.ShardState) {
		if shard != "" && !slices.Contains(states, state) {
			return
		}
		select {
		case wake <- struct{}{}:
		default: // one that is not read yet does for both
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
	return wake
}
