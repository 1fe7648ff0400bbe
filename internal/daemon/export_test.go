// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import "context"

type (
	LoopOptions = loopOptions
	PanicError  = panicError
)

var Wake = wakeOn

// Loop calls loop, with a Notifier of its own where the options have none.
func Loop(ctx context.Context, o LoopOptions, step Step) error {
	if o.Notify == nil {
		o.Notify = newNotifier(o.Log)
	}
	return loop(ctx, o, step)
}
