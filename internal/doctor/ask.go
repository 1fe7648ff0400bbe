// SPDX-License-Identifier: GPL-3.0-or-later

package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"winery/pool"
	"winery/sharedbase"
)

// silentError says that a service did not answer. It matches [context.DeadlineExceeded].
type silentError struct{ patience time.Duration }

func (e *silentError) Error() string { return fmt.Sprintf("no answer after %v", e.patience) }

func (e *silentError) Is(target error) bool { return target == context.DeadlineExceeded }

// ask calls f in a goroutine of its own, and waits no longer than patience for it.
func ask[T any](ctx context.Context, patience time.Duration, f func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	type answer struct {
		value T
		err   error
	}
	answered := make(chan answer, 1)
	go func() {
		value, err := f(ctx)
		answered <- answer{value, err}
	}()
	select {
	case a := <-answered:
		if !errors.Is(a.err, context.DeadlineExceeded) {
			return a.value, a.err
		}
	case <-ctx.Done():
	}
	var none T
	return none, &silentError{patience}
}

// askNothing is ask for a call that only succeeds or fails.
func askNothing(ctx context.Context, patience time.Duration, f func(context.Context) error) error {
	_, err := ask(ctx, patience, func(ctx context.Context) (struct{}, error) { return struct{}{}, f(ctx) })
	return err
}

func ok(what string, args ...any) Result { return Result{State: OK, What: fmt.Sprintf(what, args...)} }

// failure is the result of a check that an error ended.
func failure(err error, cure string) Result {
	r := Result{State: Failed, What: strings.Join(strings.Fields(err.Error()), " "), Cure: cure}
	if Unanswered(err) {
		r.State = Unknown
	}
	return r
}

// Unanswered reports whether an error means that a service did not answer: nothing is
// known to be wrong but that.
func Unanswered(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, pool.ErrUnavailable) ||
		errors.Is(err, sharedbase.ErrUnavailable) && !errors.Is(err, sharedbase.ErrNotAllowed)
}
