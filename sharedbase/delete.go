// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// deleteAttempts is how often Delete searches for an object that other transactions move, or delete and add again.
const deleteAttempts = 5

// errMoved: since Delete found the object, another transaction has deleted it, or moved it to another shard.
var errMoved = errors.New("another transaction has just moved the object")

// Delete makes an object absent, and records who asked for it ([WithRequester]) in
// winery_deletion, in one transaction. ErrNotFound says that it is absent already.
//
// The index keeps a row for it, marked deleted, until the cleaner has erased the
// object from the shard's image (DeletedObjects, ImageClaim.RecordErased); its row in
// the shard's table is removed at once, if the table still exists. The shard's
// row is locked FOR SHARE meanwhile: if packing began before, the image may have
// the object; if it begins after, it has not. During packing there is no lock: it
// would only disturb Python's packer, which fails if it finds the row locked when
// it has finished. An object that moves to another shard meanwhile (Claim.AdoptImage) is
// searched for again.
//
// A deletion waits no longer for a lock than Add does, and then fails with
// ErrUnavailable: there are few connections for deletions.
//
// ErrNotFound, too, must be durable on a synchronous standby: this may be the
// retry of a deletion whose commit was interrupted.
func (b *SharedBase) Delete(ctx context.Context, id ObjID) error {
	err := errMoved
	for attempt := 0; attempt < deleteAttempts && errors.Is(err, errMoved); attempt++ {
		err = b.delete(ctx, id)
	}
	if errors.Is(err, ErrNotFound) {
		if unsettled := b.WaitDurable(ctx); unsettled != nil {
			return unsettled
		}
	}
	return err
}

// delete is one attempt. That fails with errMoved, and ErrUnavailable, unless the object is where it was found.
func (b *SharedBase) delete(ctx context.Context, id ObjID) error {
	what := fmt.Sprintf("deleting object %x", id)
	return b.inTxOn(ctx, b.conns.deletes, beginWithin(b.lockWait), what, func(ctx context.Context, tx pgx.Tx) error {
		var shardID int64
		var shard string
		err := tx.QueryRow(ctx, `/* winery: FindObjectToDelete */ WITH of AS (
				SELECT s.id, s.name FROM signature2shard o JOIN shards s ON s.id = o.shard
				WHERE o.signature = $1 AND o.state = 'present'),
			held AS (
				SELECT id FROM shards WHERE id = (SELECT id FROM of) AND state NOT IN ('packing', 'importing') FOR SHARE)
			SELECT id, name::text FROM of LEFT JOIN held USING (id)`, id[:]).Scan(&shardID, &shard)
		if err != nil {
			return err
		}
		done, err := tx.Exec(ctx, `/* winery: MarkDeleted */
			WITH marked AS (UPDATE signature2shard SET state = 'deleted'
				WHERE signature = @id AND shard = @shard AND state = 'present' RETURNING signature, shard)
			INSERT INTO winery_deletion (signature, shard, client, address, request, trace, role, host)
			SELECT signature, shard, @client, @address, @request, @trace, @role, @host FROM marked`, b.deletionArgs(ctx, id, shardID))
		if err != nil {
			return err
		}
		if done.RowsAffected() == 0 {
			return fmt.Errorf("%w: %w", ErrUnavailable, errMoved)
		}
		return deleteContent(ctx, tx, shard, id)
	})
}

// WaitDurable returns once all earlier commits are durable, including on a
// synchronous standby: a query may see a commit that still waits for the standby,
// or whose wait was cancelled. Call it before an operation outside of the
// database that relies on such a query.
func (b *SharedBase) WaitDurable(ctx context.Context) error {
	return b.withShortTimeout(ctx, "waiting until the index is durable", func(ctx context.Context) error {
		_, err := b.conns.deletes.Exec(ctx, "/* winery: WaitDurable */ SELECT pg_logical_emit_message(true, 'winery', '')")
		return err
	})
}

// deleteContent deletes an object from the shard's table, if that exists.
func deleteContent(ctx context.Context, tx pgx.Tx, shard string, id ObjID) error {
	savepoint, err := tx.Begin(ctx)
	if err != nil {
		return err
	}
	_, err = savepoint.Exec(ctx, "/* winery: DeleteContent */ DELETE FROM "+quoteTable(shard)+" WHERE key = $1", id[:])
	if isNoTable(err) {
		return savepoint.Rollback(ctx)
	}
	if err != nil {
		return err
	}
	return savepoint.Commit(ctx)
}

// ShardsToErase returns the shards of a pool, "" for all pools, whose images may
// have objects that are marked deleted, or that were added again to another shard
// since (winery_erasure), and not to the same shard after that. Quarantined
// shards are excluded, and so are marks of ids that are no SHA-256, which Python's
// index may have: no image can have such an object.
func (b *SharedBase) ShardsToErase(ctx context.Context, pool string) (shards []Shard, err error) {
	rows, err := b.conns.lists.Query(ctx, `/* winery: ShardsToErase */
		SELECT `+shardColumns+` FROM shards s WHERE $1 IN ('', pool_name)
		AND s.state IN ('packed', 'cleaning', 'readonly')
		AND (EXISTS (SELECT FROM signature2shard WHERE shard = s.id AND state = 'deleted' AND octet_length(signature) = 32)
			OR EXISTS (SELECT FROM winery_erasure e WHERE shard = s.id AND octet_length(signature) = 32 AND NOT EXISTS (SELECT FROM signature2shard o
				WHERE o.signature = e.signature AND o.shard = e.shard AND o.state = 'present')))
		AND NOT EXISTS (SELECT FROM winery_quarantine WHERE shard = s.id) ORDER BY id`, pool)
	if err == nil {
		shards, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (Shard, error) { return scanShard(row) })
	}
	return shards, b.explain(ctx, "listing shards with deleted objects", err)
}

// DeletedObjects returns objects that are to be erased from a shard's image: up to
// limit that are marked deleted, and up to limit that were added again to another
// shard. As ShardsToErase, it leaves out ids that are no SHA-256.
func (b *SharedBase) DeletedObjects(ctx context.Context, shardID int64, limit int) (ids []ObjID, err error) {
	rows, err := b.conns.lists.Query(ctx, `/* winery: DeletedObjects */
		(SELECT signature FROM signature2shard WHERE shard = $1 AND state = 'deleted' AND octet_length(signature) = 32 LIMIT $2)
		UNION (SELECT signature FROM winery_erasure e WHERE shard = $1 AND octet_length(signature) = 32 AND NOT EXISTS (SELECT FROM signature2shard o
			WHERE o.signature = e.signature AND o.shard = e.shard AND o.state = 'present') LIMIT $2)`, shardID, limit)
	if err == nil {
		ids, err = pgx.CollectRows(rows, scanID)
	}
	return ids, b.explain(ctx, fmt.Sprintf("listing the deleted objects of shard number %d", shardID), err)
}

// ToErase is a shard with deleted objects that are not erased.
type ToErase struct {
	Shard, Pool string
	State       ShardState // without an image, nothing can be erased yet
	Quarantined bool
	Objects     int64
}

// LeftToErase counts the objects of DeletedObjects in all shards, also in those that
// ShardsToErase excludes.
func (b *SharedBase) LeftToErase(ctx context.Context) ([]ToErase, error) {
	return list(ctx, b, b.conns.lists, "counting the deleted objects", pgx.RowToStructByPos[ToErase], `/* winery: LeftToErase */
		SELECT s.name::text, s.pool_name, s.state::text, EXISTS (SELECT FROM winery_quarantine WHERE shard = s.id), count(*) FROM (
			SELECT shard, signature FROM signature2shard WHERE state = 'deleted' AND octet_length(signature) = 32
			UNION SELECT shard, signature FROM winery_erasure e WHERE octet_length(signature) = 32 AND NOT EXISTS (SELECT FROM signature2shard o
				WHERE o.signature = e.signature AND o.shard = e.shard AND o.state = 'present')) d
		JOIN shards s ON s.id = d.shard GROUP BY s.id ORDER BY s.id`)
}
