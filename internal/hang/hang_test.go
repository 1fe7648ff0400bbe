// SPDX-License-Identifier: GPL-3.0-or-later

package hang_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"winery/internal/hang"
)

// long is more than any call here takes.
const long = time.Minute

func TestCall(t *testing.T) {
	failure, cause := errors.New("failure"), errors.New("cause")
	ended, end := context.WithCancelCause(t.Context())
	end(cause)
	never := make(chan struct{})
	t.Cleanup(func() { close(never) })
	for what, c := range map[string]struct {
		ctx      context.Context
		grace    time.Duration
		f        func(context.Context) (int, error)
		value    int
		err      error
		isBehind bool
	}{
		"returns":                   {t.Context(), 0, func(context.Context) (int, error) { return 1, nil }, 1, nil, false},
		"fails":                     {t.Context(), 0, func(context.Context) (int, error) { return 1, failure }, 1, failure, false},
		"hears of the end":          {ended, long, func(ctx context.Context) (int, error) { return 1, ctx.Err() }, 1, context.Canceled, false},
		"returns in spite of it":    {ended, long, func(context.Context) (int, error) { return 1, nil }, 1, nil, false},
		"hangs":                     {ended, 0, func(context.Context) (int, error) { <-never; return 1, nil }, 0, cause, true},
		"hangs longer than allowed": {ended, time.Millisecond, func(context.Context) (int, error) { <-never; return 1, nil }, 0, cause, true},
	} {
		value, left, err := hang.Call(c.ctx, c.grace, c.f)
		if value != c.value || !errors.Is(err, c.err) || (left != nil) != c.isBehind {
			t.Errorf("a call that %s: %d, left behind: %v, %v", what, value, left != nil, err)
		}
	}
}

// TestPanic: a panic of what is called reaches the caller, with its stack, as without Call.
func TestPanic(t *testing.T) {
	defer func() {
		if got := fmt.Sprint(recover()); !strings.HasPrefix(got, "a bug\n") || !strings.Contains(got, "hang_test.go") {
			t.Errorf("the caller got %s", got)
		}
	}()
	_, _, _ = hang.Call(t.Context(), 0, func(context.Context) (int, error) { panic("a bug") })
}

// TestCalls: a call that was left behind counts until it returns, at its place alone.
func TestCalls(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	release := map[hang.Place]chan struct{}{}
	returned := map[hang.Place]<-chan struct{}{}
	var calls hang.Calls
	listing, image, other := hang.Place{Pool: "a"}, hang.Place{Pool: "a", Image: "a"}, hang.Place{Pool: "b", Image: "a"}
	for _, at := range []hang.Place{listing, image, other} {
		if calls.Hangs(at) {
			t.Errorf("%v hangs before it was called", at)
		}
		released := make(chan struct{})
		_, left, _ := hang.Call(ctx, 0, func(context.Context) (struct{}, error) { <-released; return struct{}{}, nil })
		calls.Add(at, left)
		release[at], returned[at] = released, left
	}
	calls.Add(hang.Place{Pool: "c"}, nil)
	want := func(inA, inB int, hanging ...hang.Place) {
		t.Helper()
		if a, b, c := calls.In("a"), calls.In("b"), calls.In("c"); a != inA || b != inB || c != 0 {
			t.Errorf("%d calls of a hang, %d of b, %d of c; want %d, %d, 0", a, b, c, inA, inB)
		}
		for _, at := range hanging {
			if !calls.Hangs(at) {
				t.Errorf("%v does not hang", at)
			}
		}
	}
	want(2, 1, listing, image, other)
	close(release[image])
	<-returned[image]
	if calls.Hangs(image) {
		t.Error("the image hangs after its call has returned")
	}
	want(1, 1, listing, other)
	close(release[listing])
	<-returned[listing]
	want(0, 1, other)
	close(release[other])
	<-returned[other]
	want(0, 0)
}
