// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"context"
	"time"
)

// Ping returns how far the database's clock is ahead of this host's, give or take half of
// the time of the answer, or ErrUnavailable if the database does not answer.
func (b *SharedBase) Ping(ctx context.Context) (ahead time.Duration, err error) {
	err = b.withShortTimeout(ctx, "asking the database for an answer", func(ctx context.Context) error {
		var there time.Time
		asked := time.Now()
		err := b.conns.lookups.QueryRow(ctx, "/* winery: Ping */ SELECT clock_timestamp()").Scan(&there)
		ahead = there.Sub(asked.Add(time.Since(asked) / 2))
		return err
	})
	return ahead, err
}
