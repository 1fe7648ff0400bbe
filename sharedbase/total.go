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
// writing. It is false where only TableSize can tell: the last writer died, or
// was Python's.
func (c *Claim) Total() (total Total, known bool) { return c.total, c.totalKnown }

// ReleaseWithTotal is Release of a shard that was written, and records the size
// of its table for the next writer's claim.
func (c *Claim) ReleaseWithTotal(ctx context.Context, total Total) error {
	return c.release(ctx, &total)
}

// knownTotal are the columns objects and bytes of the total of a shard that is
// being claimed, NULL where none is known: s is the shard's row, and free has the
// version of the row from before.
const knownTotal = `(SELECT objects FROM winery_total WHERE shard = s.id AND row_version = free.version),
	(SELECT bytes FROM winery_total WHERE shard = s.id AND row_version = free.version)`

// setTotal follows the CTE "moved", which has the id of a shard that this very
// transaction moves from writing to the state $4, of $5 objects and $6 bytes,
// NULL if unknown. The transaction's id is the xmin of the shard's row now.
const setTotal = `noted AS (INSERT INTO winery_total (shard, objects, bytes, row_version)
		SELECT id, $5, $6, pg_current_xact_id()::xid FROM moved WHERE $4 = 'standby' AND $5::bigint IS NOT NULL
		ON CONFLICT (shard) DO UPDATE SET objects = excluded.objects, bytes = excluded.bytes, row_version = excluded.row_version),
	forgotten AS (DELETE FROM winery_total t USING moved WHERE t.shard = moved.id AND $4 = 'full')`
