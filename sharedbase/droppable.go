// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// briefUse is how long another transaction may use a table before it counts as one that
// lasts, as that of pg_dump.
const briefUse = 2 * time.Second

// Droppable tells a caller who is about to read an image, for hours, whether the table of a
// PACKED shard could be dropped at this moment. It returns ErrTooFewHosts if the owner of
// the database wants more hosts, and ErrTableInUse; nil if the shard cannot be claimed: it
// is in another state by now, or in quarantine. It proves nothing: [Claim.DropTable] does.
// It asks for no lock, for which readers of the table would have to wait.
func (b *SharedBase) Droppable(ctx context.Context, name string) error {
	mapped, minHosts, first, err := b.hindrances(ctx, name)
	if err != nil {
		return err
	}
	if mapped < minHosts {
		return tooFewHosts(name, mapped)
	}
	if len(first) == 0 {
		return nil
	}
	select {
	case <-time.After(briefUse):
	case <-ctx.Done():
		return ctx.Err()
	}
	_, _, later, err := b.hindrances(ctx, name)
	for transaction, pid := range later {
		if _, lasts := first[transaction]; lasts {
			return fmt.Errorf("shard %s: %w: process %d of the database server", name, ErrTableInUse, pid)
		}
	}
	return err
}

// hindrances returns how many hosts have mapped the image, how many the owner of the
// database wants, and the transactions that use the table: of each the process of the
// server, 0 for a prepared one. Nothing hinders where the shard cannot be claimed.
func (b *SharedBase) hindrances(ctx context.Context, name string) (mapped, minHosts int, using map[string]int, err error) {
	var transactions []string
	var pids []int
	err = b.withShortTimeout(ctx, "looking up who uses the table of shard "+name, func(ctx context.Context) error {
		return b.conns.rest.QueryRow(ctx, `/* winery: Hindrances */
			SELECT cardinality(s.mapped_on_hosts_when_packed),
				coalesce((SELECT split_part(setting, '=', 2)::integer FROM pg_proc, unnest(proconfig) setting
					WHERE oid = to_regprocedure($2) AND setting LIKE 'winery.min\_mapped\_hosts=%_'), 0),
				coalesce(array_agg(l.virtualtransaction) FILTER (WHERE l.granted), '{}'),
				coalesce(array_agg(coalesce(l.pid, 0)) FILTER (WHERE l.granted), '{}')
			FROM shards s LEFT JOIN pg_locks l ON l.locktype = 'relation' AND l.relation = to_regclass('shard_' || s.name::text)
				AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
			WHERE s.name = $1 AND s.state = 'packed' AND NOT EXISTS (SELECT FROM winery_quarantine WHERE shard = s.id)
			GROUP BY s.id`, name, dropFunction).Scan(&mapped, &minHosts, &transactions, &pids)
	})
	if errors.Is(err, ErrNotFound) {
		return 0, 0, nil, nil
	}
	using = map[string]int{}
	for i, transaction := range transactions {
		using[transaction] = pids[i]
	}
	return mapped, minHosts, using, err
}
