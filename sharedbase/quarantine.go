// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Quarantined is a shard in which something does not fit.
type Quarantined struct {
	Shard      Shard
	Reason     string
	Role, Host string // of the process that found it
	At         time.Time
}

// Quarantine keeps everybody of this Winery from claiming a shard, and from erasing in
// its image, until it is unquarantined: something in it does not fit, and what there
// is must stay as it is. Readers are not concerned. A later reason replaces an
// earlier one.
func (b *SharedBase) Quarantine(ctx context.Context, shardID int64, reason string) error {
	return b.withShortTimeout(ctx, fmt.Sprintf("quarantining shard number %d", shardID), func(ctx context.Context) error {
		_, err := b.pool.Exec(ctx, `INSERT INTO winery_quarantine (shard, reason, role, host) VALUES ($1, $2, $3, $4)
			ON CONFLICT (shard) DO UPDATE SET reason = excluded.reason, role = excluded.role, host = excluded.host, at = excluded.at`,
			shardID, reason, b.holder.Role, b.holder.Host)
		return err
	})
}

// Unquarantine lets a shard go on, and wakes listeners. ErrNotFound where none of that
// name is quarantined.
func (b *SharedBase) Unquarantine(ctx context.Context, name string) error {
	return b.withShortTimeout(ctx, "unquarantining shard "+name, func(ctx context.Context) error {
		return b.pool.QueryRow(ctx, `DELETE FROM winery_quarantine p USING shards s WHERE s.id = p.shard AND s.name = $1
			RETURNING `+notify, name).Scan(nil)
	})
}

// QuarantinedShards lists the quarantined shards, oldest first.
func (b *SharedBase) QuarantinedShards(ctx context.Context) (quarantined []Quarantined, err error) {
	err = b.withShortTimeout(ctx, "listing quarantined shards", func(ctx context.Context) error {
		rows, err := b.pool.Query(ctx, "SELECT p.reason, p.role, p.host, p.at, "+shardColumns+
			" FROM winery_quarantine p JOIN shards s ON s.id = p.shard ORDER BY p.at")
		if err != nil {
			return err
		}
		quarantined, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (p Quarantined, err error) {
			p.Shard, err = scanShardAfter(row, &p.Reason, &p.Role, &p.Host, &p.At)
			return p, err
		})
		return err
	})
	return quarantined, err
}
