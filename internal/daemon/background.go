// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"context"
	"sync"
	"time"
)

// Background calls run in a goroutine, with a context that ends with ctx, or once the
// returned function is called, which waits until run has returned.
func Background(ctx context.Context, run func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { run(ctx) })
	return func() { cancel(); running.Wait() }
}

// every calls do at the end of each interval until ctx ends.
func every(ctx context.Context, interval time.Duration, do func()) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			do()
		}
	}
}
