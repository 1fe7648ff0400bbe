// SPDX-License-Identifier: GPL-3.0-or-later

package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"winery/internal/hang"
	"winery/pool"
	"winery/sharedbase"
)

// silentError says that a service did not answer. It matches [context.DeadlineExceeded].
type silentError struct{ patience time.Duration }

func (e *silentError) Error() string { return fmt.Sprintf("no answer after %v", e.patience) }

func (e *silentError) Is(target error) bool { return target == context.DeadlineExceeded }

// ask calls f, and waits no longer than patience for it.
func ask[T any](ctx context.Context, patience time.Duration, f func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	value, left, err := hang.Call(ctx, 0, f)
	if left != nil || errors.Is(err, context.DeadlineExceeded) {
		err = &silentError{patience}
	}
	return value, err
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
