// SPDX-License-Identifier: GPL-3.0-or-later

package reader

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// imageCalls and poolCalls are the maximum numbers of calls in flight to one
	// image and to all images of one pool, unless Options.Calls is less for a pool.
	// A call into librbd, a block device or a file occupies a thread until it
	// returns, even if its caller no longer waits.
	imageCalls, poolCalls = 32, 256
	// defaultHangAfter is the default of Options.HangAfter.
	defaultHangAfter = 10 * time.Second
)

// ErrImageUnavailable is returned, wrapped, when a read in an image is refused or
// cancelled because calls to the image or its pool do not return. The same read
// may succeed later.
var ErrImageUnavailable = errors.New("the image does not answer")

// gate bounds the calls into one image, however often that was opened, and notices when
// the image stops answering: when no call returns, and no read within a call.
//
// An image hangs when calls are in flight and it has not answered for hangAfter.
// While it hangs, callers that wait for its answer are released and new calls
// are refused. The next answer ends that. An image in which some
// calls return and others do not, as when one of many OSDs is down, does not
// hang: there the slots alone bound the calls.
type gate struct {
	image, pool chan struct{} // a value for each call in flight
	hangAfter   time.Duration
	// changed is called when the image begins to hang and when it answers again,
	// with the calls in flight and the time without an answer.
	changed  func(hangs bool, calls int, silent time.Duration)
	openings int // of the image that are in use; guarded by images.mu

	mu       sync.Mutex
	calls    int           // in flight
	answered time.Time     // when the image answered last, or the first of calls began
	hung     chan struct{} // closed while the image hangs
	hangs    bool
	armed    bool // a timer will call check
}

func newGate(pool chan struct{}, hangAfter time.Duration, changed func(bool, int, time.Duration)) *gate {
	return &gate{
		image: make(chan struct{}, imageCalls), pool: pool, hangAfter: hangAfter, changed: changed,
		hung: make(chan struct{}),
	}
}

// enter waits for a slot of the image and one of its pool, for each at most
// hangAfter. After nil the caller makes its call, and then calls leave. Errors:
// ErrImageUnavailable, ctx's.
func (g *gate) enter(ctx context.Context) error {
	hung := g.whenHung()
	select {
	case <-hung:
		return g.hangError()
	default:
	}
	if err := g.take(ctx, g.image, hung); err != nil {
		return err
	}
	if err := g.take(ctx, g.pool, hung); err != nil {
		<-g.image
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.calls == 0 {
		g.answered = time.Now()
	}
	g.calls++
	g.arm(g.hangAfter)
	return nil
}

// take takes one of slots.
func (g *gate) take(ctx context.Context, slots chan struct{}, hung <-chan struct{}) error {
	select {
	case slots <- struct{}{}:
		return nil
	default:
	}
	timer := time.NewTimer(g.hangAfter)
	defer timer.Stop()
	select {
	case slots <- struct{}{}:
		return nil
	case <-hung:
		return g.hangError()
	case <-timer.C:
		return fmt.Errorf("%w: %d calls to the image or its pool are in flight", ErrImageUnavailable, cap(slots))
	case <-ctx.Done():
		return ctx.Err()
	}
}

// leave says that a call has returned.
func (g *gate) leave() {
	g.answer()
	g.mu.Lock()
	g.calls--
	g.mu.Unlock()
	<-g.pool
	<-g.image
}

// answer says that the image has answered.
func (g *gate) answer() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.hangs {
		g.hangs, g.hung = false, make(chan struct{})
		g.changed(false, g.calls, time.Since(g.answered))
		g.arm(g.hangAfter)
	}
	g.answered = time.Now()
}

// whenHung returns a channel that is closed when the image hangs.
func (g *gate) whenHung() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.hung
}

func (g *gate) hangError() error {
	return fmt.Errorf("%w: no read of the image has returned for %v", ErrImageUnavailable, g.hangAfter)
}

// arm lets check run in d, unless it will run anyway. The caller holds mu.
func (g *gate) arm(d time.Duration) {
	if !g.armed && !g.hangs {
		g.armed = true
		time.AfterFunc(d, g.check)
	}
}

// check finds out whether the image hangs.
func (g *gate) check() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.armed = false
	silent := time.Since(g.answered)
	switch {
	case g.calls == 0:
	case silent < g.hangAfter:
		g.arm(g.hangAfter - silent)
	default:
		g.hangs = true
		close(g.hung)
		g.changed(true, g.calls, silent)
	}
}
