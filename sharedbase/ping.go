// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import "context"

// Ping returns nil if the database answers: ErrUnavailable.
func (b *SharedBase) Ping(ctx context.Context) error {
	return b.withShortTimeout(ctx, "asking the database for an answer", func(ctx context.Context) error {
		_, err := b.conns.lookups.Exec(ctx, "/* winery: Ping */ SELECT")
		return err
	})
}
