// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// QuarantinedError says that a shard is quarantined, and why: nothing of it is
// destroyed until an operator has released it. Nothing was changed.
type QuarantinedError struct {
	Shard, Reason string
	Role, Host    string // of the process that quarantined it
	At            time.Time
}

func (e *QuarantinedError) Error() string {
	return fmt.Sprintf("shard %s is quarantined by %s on %s since %s: %s (see `wineryctl shards quarantined`)",
		e.Shard, e.Role, e.Host, e.At.UTC().Format(time.RFC3339), e.Reason)
}

// quarantined returns *QuarantinedError where a shard is quarantined, else nil.
func quarantined(ctx context.Context, db querier, shardID int64, name string) error {
	q := &QuarantinedError{Shard: name}
	err := db.QueryRow(ctx, `/* winery: FindQuarantine */
		SELECT reason, role, host, at FROM winery_quarantine WHERE shard = $1`, shardID).
		Scan(&q.Reason, &q.Role, &q.Host, &q.At)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return err
	}
	return q
}

// Quarantined is a shard whose index, table and image are not consistent.
type Quarantined struct {
	Shard      Shard
	Reason     string
	Role, Host string // of the process that found it
	At         time.Time
}

// Quarantine prevents every process of Go Winery from claiming a shard, and from
// destroying anything of it, until it is unquarantined: the shard is not
// consistent, and must stay unchanged. It locks the shard's row: a table is
// dropped, or a mark removed, before Quarantine returns or not at all. Readers
// are not affected. A later reason replaces an earlier one.
func (b *SharedBase) Quarantine(ctx context.Context, shardID int64, reason string) error {
	return b.QuarantineIn(ctx, shardID, "", reason)
}

// QuarantineIn is Quarantine because of what was found in a pool: ErrMoved if the shard's
// image is in another pool by now, and what was found does not concern that image. "" is any pool.
func (b *SharedBase) QuarantineIn(ctx context.Context, shardID int64, pool, reason string) error {
	return b.withShortTimeout(ctx, fmt.Sprintf("quarantining shard number %d", shardID), func(ctx context.Context) error {
		done, err := b.conns.rest.Exec(ctx, `/* winery: Quarantine */
			WITH held AS (SELECT id FROM shards WHERE id = $1 AND $5 IN ('', pool_name) FOR NO KEY UPDATE)
			INSERT INTO winery_quarantine (shard, reason, role, host) SELECT id, $2, $3, $4 FROM held
			ON CONFLICT (shard) DO UPDATE SET reason = excluded.reason, role = excluded.role, host = excluded.host, at = excluded.at`,
			shardID, asText(reason), b.holder.Role, b.holder.Host, pool)
		if err == nil && done.RowsAffected() == 0 && pool != "" {
			err = ErrMoved
		}
		return err
	})
}

// Unquarantine releases a shard from quarantine, and notifies listeners.
// ErrNotFound if no shard of that name is quarantined.
func (b *SharedBase) Unquarantine(ctx context.Context, name string) error {
	return b.withShortTimeout(ctx, "unquarantining shard "+name, func(ctx context.Context) error {
		return b.conns.rest.QueryRow(ctx, `/* winery: Unquarantine */
			DELETE FROM winery_quarantine p USING shards s WHERE s.id = p.shard AND s.name = $1
			RETURNING `+notify, name).Scan(nil)
	})
}

// QuarantinedAt returns when a shard was quarantined, by the database's clock: the zero
// time where it is not.
func (b *SharedBase) QuarantinedAt(ctx context.Context, name string) (at time.Time, err error) {
	err = b.withShortTimeout(ctx, "finding the quarantine of shard "+name, func(ctx context.Context) error {
		return b.conns.rest.QueryRow(ctx, `/* winery: QuarantinedAt */
			SELECT at FROM winery_quarantine p JOIN shards s ON s.id = p.shard WHERE s.name = $1`, name).Scan(&at)
	})
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	return at, ignoreNotAttached(err)
}

// CheckQuarantine returns *QuarantinedError where a shard is quarantined, else nil.
func (b *SharedBase) CheckQuarantine(ctx context.Context, s Shard) error {
	err := b.withShortTimeout(ctx, "finding the quarantine of shard "+s.Name, func(ctx context.Context) error {
		return quarantined(ctx, b.conns.rest, s.ID, s.Name)
	})
	return ignoreNotAttached(err)
}

// UnquarantineSince is Unquarantine of a shard that was quarantined at the moment at.
// *QuarantinedError if it was quarantined again since: nothing was changed.
// ErrNotFound if it is not quarantined.
func (b *SharedBase) UnquarantineSince(ctx context.Context, name string, at time.Time) error {
	return b.inTx(ctx, "unquarantining shard "+name, func(ctx context.Context, tx pgx.Tx) error {
		s, err := lockShard(ctx, tx, name)
		if err != nil {
			return err
		}
		err = tx.QueryRow(ctx, `/* winery: UnquarantineSince */
			DELETE FROM winery_quarantine p USING shards s WHERE s.id = p.shard AND s.id = $1 AND p.at = $2
			RETURNING `+notify, s.ID, at).Scan(nil)
		if errors.Is(err, pgx.ErrNoRows) {
			if later := quarantined(ctx, tx, s.ID, name); later != nil {
				return later
			}
		}
		return err
	})
}

// QuarantinedShards lists the quarantined shards, oldest first.
func (b *SharedBase) QuarantinedShards(ctx context.Context) ([]Quarantined, error) {
	scan := func(row pgx.CollectableRow) (p Quarantined, err error) {
		p.Shard, err = scanShardAfter(row, &p.Reason, &p.Role, &p.Host, &p.At)
		return p, err
	}
	all, err := list(ctx, b, b.conns.rest, "listing quarantined shards", scan, "/* winery: QuarantinedShards */ SELECT p.reason, p.role, p.host, p.at, "+
		shardColumns+" FROM winery_quarantine p JOIN shards s ON s.id = p.shard ORDER BY p.at")
	return all, ignoreNotAttached(err)
}
