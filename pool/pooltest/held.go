// SPDX-License-Identifier: GPL-3.0-or-later

package pooltest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"winery/pool"
)

// errLost is what the database says to who owns the row no more. A number in
// it, here of a socket that is away, is not the pool's.
var errLost = fmt.Errorf("the row is another's: %w", unix.ENOENT)

// heldRefuses: where the database says no, whenever it is asked, Create leaves
// everything as it was.
func heldRefuses(t *testing.T, p pool.Pool) {
	want := pattern(1, 5*mib+77)
	finished(t, p, "one", want)
	asked := 1
	for refuse := 1; refuse <= asked; refuse++ {
		for _, room := range []int64{0, 13 * mib} { // which the image has, and has not
			asked = 0
			_, err := p.Create(t.Context(), "one", room, func(context.Context) error {
				wantContent(t, p, "one", want)
				if asked++; asked == refuse {
					return errLost
				}
				return nil
			})
			wantErr(t, "Create", err, errLost)
			if errors.Is(err, pool.ErrNotFound) {
				t.Errorf("the refusal is taken for the pool's own error: %v", err)
			}
			wantContent(t, p, "one", want)
		}
	}
	_, err := p.Create(t.Context(), "two", 0, func(context.Context) error { return errLost })
	wantErr(t, "Create of another", err, errLost)
	wantList(t, p, "one")

	d, err := p.Create(t.Context(), "one", 0, func(context.Context) error { return nil })
	must(t, err)
	must(t, d.Abort(t.Context()))
}
