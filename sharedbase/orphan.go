// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// OrphanTables returns the names, in ascending order, of the tables of shards that
// the database does not have, or has as readonly: nothing reads them, and nothing
// drops them.
func (b *SharedBase) OrphanTables(ctx context.Context) ([]string, error) {
	return list(ctx, b, b.conns.lists, "listing the tables that belong to no shard", pgx.RowTo[string], `/* winery: OrphanTables */
		SELECT c.relname::text FROM pg_class c
		WHERE c.relkind = 'r' AND c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'shards'::regclass)
			AND c.relname LIKE 'shard\_%' AND c.relname <> 'shard_template'
			AND NOT EXISTS (SELECT FROM shards s WHERE 'shard_' || s.name::text = c.relname AND s.state <> 'readonly')
		ORDER BY 1`)
}
