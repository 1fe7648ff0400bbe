// SPDX-License-Identifier: GPL-3.0-or-later

package hang

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// maxGrace is how long work that must end has to hear of that.
const maxGrace = 3 * time.Second

// SilentError says that a call did not return in time.
type SilentError struct{ Limit time.Duration }

func (e *SilentError) Error() string {
	return fmt.Sprintf("a call has not returned for %v; does the device of the image, or its pool, hang? (see the kernel's log, and the state of the store)", e.Limit)
}

// Begin is called before each call of a store, and the end that it returns when the call
// has returned. It may be called concurrently.
type Begin func() (end func(done bool))

// Watch calls do, work of many calls of a store that may take long as a whole. The context
// of do ends when ctx ends, or when calls have begun and none of them has returned for
// limit: then the error is a [*SilentError]. Where do does not hear that, because a call
// hangs in a device or a library, it is left behind, and added to left.
func Watch[T any](ctx context.Context, limit time.Duration, left *Calls, at Place, do func(context.Context, Begin) (T, error)) (T, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	in := &inFlight{limit: limit, silent: func() { cancel(&SilentError{limit}) }}
	result, behind, err := Call(ctx, min(limit, maxGrace), func(ctx context.Context) (T, error) { return do(ctx, in.begin) })
	left.Add(at, behind)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return result, err
}

// inFlight are the calls that some work makes. What waits for something else, such as a
// rate, is not in a call.
type inFlight struct {
	limit  time.Duration
	silent func() // called where some are in flight, and none of these has returned for the limit

	mu    sync.Mutex
	calls int
	timer *time.Timer // of silent
}

func (f *inFlight) begin() (end func(done bool)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.calls++; f.calls == 1 {
		f.timer = time.AfterFunc(f.limit, f.silent)
	}
	return func(bool) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.timer.Stop()
		if f.calls--; f.calls > 0 {
			f.timer = time.AfterFunc(f.limit, f.silent)
		}
	}
}
