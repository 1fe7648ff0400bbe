// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"
)

// DamagedRow is a row of a shard's table that is no object: its key is not the
// SHA-256 of its content, or its content is NULL. Python's writers store what
// they are given.
type DamagedRow struct {
	Key  []byte
	Size int64  // of the content in bytes; -1: NULL
	Sum  []byte // the content's SHA-256; nil: NULL
}

// DamagedRows returns the damaged rows of a claimed shard's table, by key. The
// server hashes the whole table for it.
func (c *Claim) DamagedRows(ctx context.Context) (rows []DamagedRow, err error) {
	found, err := c.base.conns.lists.Query(ctx, `/* winery: DamagedRows */
		SELECT key, coalesce(octet_length(content), -1), sha256(content) FROM `+quoteTable(c.name)+
		" WHERE octet_length(key) <> 32 OR content IS NULL OR sha256(content) <> key ORDER BY key")
	if err == nil {
		rows, err = pgx.CollectRows(found, pgx.RowToStructByPos[DamagedRow])
	}
	return rows, c.base.explain(ctx, "listing the damaged rows in the table of shard "+c.name, err)
}

// WriteDamaged writes the content of a damaged row, in pieces.
func (c *Claim) WriteDamaged(ctx context.Context, row DamagedRow, w io.Writer) error {
	for at := int64(0); at < row.Size; {
		slice, err := readSlice(ctx, c.base.conns.lists, c.name, row.Key, at)
		if err != nil {
			return c.base.explain(ctx, fmt.Sprintf("reading the damaged row %x of shard %s", row.Key, c.name), err)
		}
		if len(slice) == 0 {
			return fmt.Errorf("the damaged row %x of shard %s became shorter while it was read", row.Key, c.name)
		}
		if _, err := w.Write(slice); err != nil {
			return err
		}
		at += int64(len(slice))
	}
	return nil
}

// errRowsChanged: what would be removed is not what was exported.
var errRowsChanged = errors.New("the shard's damaged rows changed after the export: nothing was removed; export them again")

// RemoveDamaged removes damaged rows from a claimed shard's table and from the
// index, and ends the shard's quarantine, in one transaction: it removes all, or,
// if the claim is lost or a row differs from the given one, nothing.
func (c *Claim) RemoveDamaged(ctx context.Context, rows []DamagedRow) error {
	keys, sums := make([][]byte, len(rows)), make([][]byte, len(rows))
	for i, row := range rows {
		keys[i], sums[i] = row.Key, row.Sum
	}
	return c.base.inTx(ctx, "removing damaged rows of shard "+c.name, func(ctx context.Context, tx pgx.Tx) error {
		held, err := tx.Exec(ctx, `/* winery: LockClaimedShard */
			SELECT FROM shards WHERE id = $1 AND locker = $2 AND state = $3 FOR NO KEY UPDATE`, c.id, c.locker, c.State())
		if err != nil {
			return err
		}
		if held.RowsAffected() == 0 {
			return notHeld(ctx, tx, c.name, c.locker, c.State())
		}
		// In the order of their keys, as an Add takes them.
		_, err = tx.Exec(ctx, `/* winery: LockDamagedObjects */
			SELECT FROM signature2shard WHERE signature = ANY ($1) AND shard = $2 ORDER BY signature FOR UPDATE`, keys, c.id)
		if err != nil {
			return err
		}
		if _, err = tx.Exec(ctx, `/* winery: RemoveDamagedObjects */
			DELETE FROM signature2shard WHERE signature = ANY ($1) AND shard = $2`, keys, c.id); err != nil {
			return err
		}
		removed, err := tx.Exec(ctx, `/* winery: RemoveDamagedRows */
			DELETE FROM `+quoteTable(c.name)+` t USING unnest($1::bytea[], $2::bytea[]) AS row (key, sum)
			WHERE t.key = row.key AND sha256(t.content) IS NOT DISTINCT FROM row.sum`, keys, sums)
		if err != nil {
			return err
		}
		if removed.RowsAffected() != int64(len(rows)) {
			return errRowsChanged
		}
		_, err = tx.Exec(ctx, "/* winery: EndQuarantine */ DELETE FROM winery_quarantine WHERE shard = $1", c.id)
		return err
	})
}
