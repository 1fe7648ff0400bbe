// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import "context"

// Total is the size of a shard's table: what was added to it. Objects that were
// deleted since may count.
type Total struct {
	Objects int64
	Bytes   int64 // of their contents
}

// Total returns the size that the table had when the shard was claimed for
// writing. It is false if the size is unknown and TableSize must count: the last
// writer died, or was Python's.
func (c *Claim) Total() (total Total, known bool) { return c.total, c.totalKnown }

// ReleaseWithTotal is Release of a shard that was written, and records the size
// of its table for the next writer's claim.
func (c *Claim) ReleaseWithTotal(ctx context.Context, total Total) error {
	return c.release(ctx, &total)
}
