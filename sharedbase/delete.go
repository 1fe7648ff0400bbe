// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/jackc/pgx/v5"
)

// Delete makes an object absent. ErrNotFound says that it is already.
//
// The index keeps a row for it, marked deleted, until the cleaner has erased
// the object from the shard's image (DeletedObjects, CleanDeletedObjects); its
// row in the shard's table goes at once, wherever the table still exists. The
// shard's row is locked FOR SHARE meanwhile: packing begins before, and then
// the image may have the object, or after, and then it has not. While packing
// is under way there is no lock: it could only hide the shard from Python's
// packer, which gives up if it finds the row locked when it has finished.
//
// ErrNotFound, too, is an answer that a synchronous standby must bear out: it may
// be the second try of a deletion whose commit was cut off.
func (b *SharedBase) Delete(ctx context.Context, id ObjID) error {
	what := fmt.Sprintf("deleting object %x", id)
	err := b.inTx(ctx, what, func(ctx context.Context, tx pgx.Tx) error {
		var shardID int64
		var shard string
		err := tx.QueryRow(ctx, `WITH of AS (
				SELECT s.id, s.name FROM signature2shard o JOIN shards s ON s.id = o.shard
				WHERE o.signature = $1 AND o.state = 'present'),
			held AS (
				SELECT id FROM shards WHERE id = (SELECT id FROM of) AND state NOT IN ('packing', 'importing') FOR SHARE)
			SELECT id, name::text FROM of LEFT JOIN held USING (id)`, id[:]).Scan(&shardID, &shard)
		if err != nil {
			return err
		}
		done, err := tx.Exec(ctx, `UPDATE signature2shard SET state = 'deleted'
			WHERE signature = $1 AND shard = $2 AND state = 'present'`, id[:], shardID)
		if err != nil {
			return err
		}
		if done.RowsAffected() == 0 {
			return fmt.Errorf("%x: %w", id, ErrNotFound) // another's deletion was faster
		}
		return deleteContent(ctx, tx, shard, id)
	})
	if errors.Is(err, pgx.ErrNoRows) || errors.Is(err, ErrNotFound) {
		if unsettled := b.WaitDurable(ctx); unsettled != nil {
			return unsettled
		}
	}
	return err
}

// WaitDurable returns once all that was committed before is as durable as the server
// makes its commits: what a query saw may be a commit that still waits for a
// synchronous standby, or was cut off while it did. It is for who is about to do
// something outside of the database that rests on it.
func (b *SharedBase) WaitDurable(ctx context.Context) error {
	return b.withShortTimeout(ctx, "waiting until what was seen is durable", func(ctx context.Context) error {
		_, err := b.pool.Exec(ctx, "SELECT pg_logical_emit_message(true, 'winery', '')")
		return err
	})
}

// deleteContent deletes an object from the shard's table, if that exists.
func deleteContent(ctx context.Context, tx pgx.Tx, shard string, id ObjID) error {
	savepoint, err := tx.Begin(ctx)
	if err != nil {
		return err
	}
	_, err = savepoint.Exec(ctx, "DELETE FROM "+quoteTable(shard)+" WHERE key = $1", id[:])
	if isNoTable(err) {
		return savepoint.Rollback(ctx)
	}
	if err != nil {
		return err
	}
	return savepoint.Commit(ctx)
}

// Deleted is a shard with objects that are marked deleted.
type Deleted struct {
	Shard Shard
	IDs   []ObjID // ascending
}

// DeletedObjects goes through the objects that are marked deleted, and those
// that were added again to another shard since (winery_erasure), a shard at a
// time, each as it is when the loop comes to it. An empty pool means all.
// Quarantined shards are left out.
func (b *SharedBase) DeletedObjects(ctx context.Context, pool string) iter.Seq2[Deleted, error] {
	return func(yield func(Deleted, error) bool) {
		shards, err := b.shardsWithDeleted(ctx, pool)
		if err != nil {
			yield(Deleted{}, err)
			return
		}
		for _, id := range shards {
			d, err := b.deletedOf(ctx, id)
			if len(d.IDs) == 0 && err == nil {
				continue // cleaned meanwhile
			}
			if !yield(d, err) || err != nil {
				return
			}
		}
	}
}

func (b *SharedBase) shardsWithDeleted(ctx context.Context, pool string) (ids []int64, err error) {
	rows, err := b.pool.Query(ctx, `SELECT id FROM shards WHERE $1 IN ('', pool_name)
		AND (EXISTS (SELECT FROM signature2shard WHERE shard = shards.id AND state = 'deleted')
			OR EXISTS (SELECT FROM winery_erasure WHERE shard = shards.id))
		AND NOT EXISTS (SELECT FROM winery_quarantine WHERE shard = shards.id) ORDER BY id`, pool)
	if err == nil {
		ids, err = pgx.CollectRows(rows, pgx.RowTo[int64])
	}
	return ids, b.explain(ctx, "listing shards with deleted objects", err)
}

func (b *SharedBase) deletedOf(ctx context.Context, shardID int64) (d Deleted, err error) {
	d.Shard, err = b.ShardByID(ctx, shardID)
	if err != nil {
		return d, err
	}
	rows, err := b.pool.Query(ctx, `SELECT signature FROM signature2shard WHERE shard = $1 AND state = 'deleted'
		UNION SELECT signature FROM winery_erasure e WHERE shard = $1 AND NOT EXISTS (SELECT FROM signature2shard o
			WHERE o.signature = e.signature AND o.shard = e.shard AND o.state = 'present')
		ORDER BY signature`, shardID)
	if err == nil {
		d.IDs, err = pgx.CollectRows(rows, scanID)
	}
	return d, b.explain(ctx, "listing the deleted objects of shard "+d.Shard.Name, err)
}

// CleanDeletedObjects removes the index rows of objects of the shard that are
// marked deleted, and their notes in winery_erasure, and returns how many objects
// it were. s is the shard as it was seen in
// DeletedObjects. Where it had its image then (ShardState.ImageAvailable) the
// caller must have erased the objects from the image before. Where it had none
// the rows go only if it still has none, and is not being packed either: an
// object that was deleted before packing began is not in the image. A row that
// was made present again, or belongs to another shard now, stays; and so do all
// if the shard was moved to another pool meanwhile, whose image has them still.
func (b *SharedBase) CleanDeletedObjects(ctx context.Context, s Shard, ids []ObjID) (cleaned int64, err error) {
	unchanged := []string{string(StateStandby), string(StateWriting), string(StateFull)}
	if s.State.ImageAvailable() {
		unchanged = []string{string(StatePacked), string(StateCleaning), string(StateReadOnly)}
	}
	for some := range slices.Chunk(ids, cleanedAtOnce) {
		n, err := b.cleanDeleted(ctx, s, unchanged, some)
		cleaned += n
		if err != nil {
			return cleaned, err
		}
	}
	return cleaned, nil
}

// cleanedAtOnce is how many index rows go in one transaction.
const cleanedAtOnce = 10_000

func (b *SharedBase) cleanDeleted(ctx context.Context, s Shard, unchanged []string, ids []ObjID) (cleaned int64, err error) {
	err = b.inTx(ctx, "removing deleted objects of shard "+s.Name+" from the index", func(ctx context.Context, tx pgx.Tx) error {
		held, err := tx.Exec(ctx, "SELECT FROM shards WHERE id = $1 AND state::text = ANY ($2) AND pool_name = $3 FOR SHARE",
			s.ID, unchanged, s.Pool)
		if err != nil || held.RowsAffected() == 0 {
			return err
		}
		// In the order of their keys, as an Add takes them, and before the notes,
		// which its trigger makes last: else the two may wait for each other.
		_, err = tx.Exec(ctx, `SELECT FROM signature2shard WHERE signature = ANY ($1) AND shard = $2 AND state = 'deleted'
			ORDER BY signature FOR UPDATE`, keysOf(ids), s.ID)
		if err != nil {
			return err
		}
		return tx.QueryRow(ctx, `WITH marks AS (DELETE FROM signature2shard
				WHERE signature = ANY ($1) AND shard = $2 AND state = 'deleted' RETURNING signature),
			notes AS (DELETE FROM winery_erasure WHERE signature = ANY ($1) AND shard = $2 RETURNING signature)
			SELECT count(*) FROM (TABLE marks UNION TABLE notes) gone`, keysOf(ids), s.ID).Scan(&cleaned)
	})
	return cleaned, err
}
