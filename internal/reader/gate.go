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

// slots bound the calls in flight to the images of a pool, with a value for each call.
type slots struct {
	calls chan struct{}
	late  chan struct{} // for calls that have been in flight for hangAfter, while it has room
}

// gate bounds the calls into one image, however often that was opened, and notices when
// the image stops answering: when no call returns, and no read within a call.
//
// An image hangs when calls are in flight and it has not answered for hangAfter.
// While it hangs, callers that wait for its answer are released and new calls
// are refused. The next answer ends that. Once per hangAfter one caller makes a trial: the
// calls in flight may be of a part of the image alone.
//
// Where a part of the store does not answer, as when a placement group is inactive, the
// calls that need it do not return, and all others do. So a call that has been in flight
// for hangAfter gives its slot of the pool to others, and takes one of those for late calls.
// Once a call that began after it has returned, it says nothing of the image as a whole,
// and does not count for whether the image hangs.
type gate struct {
	image     chan struct{} // a value for each call in flight
	pool      *slots
	hangAfter time.Duration
	// changed is called when the image begins to hang and when it answers again,
	// with the calls in flight and the time without an answer.
	changed  func(hangs bool, calls int, silent time.Duration)
	openings int // of the image that are in use; guarded by images.mu

	mu       sync.Mutex
	calls    map[*call]bool // in flight
	counted  int            // of calls, those that were not overtaken
	answered time.Time      // when the image answered last, or the first of counted began
	returned time.Time      // when the call began that began last of those that have returned
	hung     chan struct{}  // closed while the image hangs and no trial is made
	hangs    bool
	trial    bool      // one is made
	tried    time.Time // when the image began to hang, or the last trial began or failed
	armed    bool      // a timer will call check
}

// call is a call into an image.
type call struct {
	began     time.Time
	slots     chan struct{} // those of the pool in which it has its value
	overtaken bool          // it is late, and a call that began after it has returned
}

func newGate(pool *slots, hangAfter time.Duration, changed func(bool, int, time.Duration)) *gate {
	return &gate{
		image: make(chan struct{}, imageCalls), pool: pool, hangAfter: hangAfter, changed: changed,
		calls: map[*call]bool{}, hung: make(chan struct{}),
	}
}

// begin returns a channel that is closed when the image hangs; ErrImageUnavailable if it
// hangs already, unless the caller makes the trial.
func (g *gate) begin() (hung <-chan struct{}, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.hangs {
		return g.hung, nil
	}
	if g.trial || time.Since(g.tried) < g.hangAfter {
		return nil, g.hangError()
	}
	g.trial, g.tried, g.hung = true, time.Now(), make(chan struct{})
	g.arm(g.hangAfter)
	return g.hung, nil
}

// enter waits for a slot of the image and one of its pool, for each at most
// hangAfter, a trial not at all, and until hung, which begin returned, is closed. Without an
// error the caller makes its call, and then calls leave. Errors: ErrImageUnavailable, ctx's.
func (g *gate) enter(ctx context.Context, hung <-chan struct{}) (*call, error) {
	select {
	case <-hung:
		return nil, g.hangError()
	default:
	}
	g.mu.Lock()
	patience := g.hangAfter
	if g.hangs {
		patience = 0
	}
	g.mu.Unlock()
	if err := g.take(ctx, g.image, hung, patience); err != nil {
		return nil, err
	}
	if err := g.take(ctx, g.pool.calls, hung, patience); err != nil {
		<-g.image
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	c := &call{began: time.Now(), slots: g.pool.calls}
	if g.counted == 0 {
		g.answered = c.began
	}
	g.calls[c] = true
	g.counted++
	g.arm(g.hangAfter)
	return c, nil
}

// take takes one of slots.
func (g *gate) take(ctx context.Context, slots chan struct{}, hung <-chan struct{}, patience time.Duration) error {
	select {
	case slots <- struct{}{}:
		return nil
	default:
	}
	timer := time.NewTimer(patience)
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
func (g *gate) leave(c *call) {
	g.answer()
	g.mu.Lock()
	delete(g.calls, c)
	if !c.overtaken {
		g.counted--
	}
	if c.began.After(g.returned) {
		g.returned = c.began
	}
	g.mu.Unlock()
	<-c.slots
	<-g.image
}

// answer says that the image has answered.
func (g *gate) answer() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.hangs {
		g.hangs = false
		if !g.trial {
			g.hung = make(chan struct{})
		}
		g.trial = false
		g.changed(false, len(g.calls), time.Since(g.answered))
		g.arm(g.hangAfter)
	}
	g.answered = time.Now()
}

func (g *gate) hangError() error {
	return fmt.Errorf("%w: no read of the image has returned for %v", ErrImageUnavailable, g.hangAfter)
}

// arm lets check run in d, unless it will run anyway. The caller holds mu.
func (g *gate) arm(d time.Duration) {
	if !g.armed {
		g.armed = true
		time.AfterFunc(d, g.check)
	}
}

// check finds out which calls are late, and whether the image hangs.
func (g *gate) check() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.armed = false
	if g.sortOut() {
		defer g.arm(g.hangAfter)
	}
	silent, trying := time.Since(g.answered), time.Since(g.tried)
	switch {
	case g.counted == 0, g.hangs && !g.trial:
	case silent < g.hangAfter:
		g.arm(g.hangAfter - silent)
	case g.trial && trying < g.hangAfter:
		g.arm(g.hangAfter - trying)
	default:
		if !g.hangs {
			g.hangs = true
			g.changed(true, len(g.calls), silent)
		}
		g.trial, g.tried = false, time.Now()
		close(g.hung)
	}
}

// sortOut moves late calls out of the slots of the pool, and notes which were overtaken. It
// reports whether calls still have such slots. The caller holds mu.
func (g *gate) sortOut() (left bool) {
	for c := range g.calls {
		if time.Since(c.began) < g.hangAfter {
			left = true
			continue
		}
		if !c.overtaken && c.began.Before(g.returned) {
			c.overtaken = true
			g.counted--
		}
		if c.slots == g.pool.late {
			continue
		}
		select {
		case g.pool.late <- struct{}{}:
			<-c.slots
			c.slots = g.pool.late
		default:
			left = true
		}
	}
	return left
}
