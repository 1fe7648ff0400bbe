// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"context"
	"fmt"
)

// ObjectCounts counts the objects of a shard.
type ObjectCounts struct {
	Present  int64
	Deleted  int64 // marked deleted, until they are erased from the image
	InFlight int64 // that an old release of Python Winery began to add
	Noted    int64 // to be erased from the image, because they were added again to another shard
}

// CountByState counts the objects of a shard. It takes as long as reading a part of
// the index does.
func (b *SharedBase) CountByState(ctx context.Context, shardID int64) (n ObjectCounts, err error) {
	err = b.conns.lists.QueryRow(ctx, `/* winery: CountByState */
		SELECT count(*) FILTER (WHERE state = 'present'), count(*) FILTER (WHERE state = 'deleted'), count(*) FILTER (WHERE state = 'inflight'),
			(SELECT count(*) FROM winery_erasure WHERE shard = $1)
		FROM signature2shard WHERE shard = $1`, shardID).Scan(&n.Present, &n.Deleted, &n.InFlight, &n.Noted)
	return n, b.explain(ctx, fmt.Sprintf("counting the objects of shard number %d", shardID), err)
}
