// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"context"
	"log/slog"

	"winery/sharedbase"
)

type (
	LoopOptions = loopOptions
	PanicError  = panicError
)

// Wake listens for one loop.
func Wake(ctx context.Context, base *sharedbase.SharedBase, log *slog.Logger, states ...sharedbase.ShardState) <-chan struct{} {
	w := newWaker(states...)
	listen(ctx, base, log, w)
	return w.up
}

// Loop calls loop, with a Notifier of its own where the options have none.
func Loop(ctx context.Context, o LoopOptions, step Step) error {
	if o.Notify == nil {
		o.Notify = newNotifier(o.Log)
	}
	return loop(ctx, o, step)
}
