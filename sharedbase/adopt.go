// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"context"
	"fmt"
	"iter"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Adopted says what AdoptImage did.
type Adopted struct {
	Objects int64 // keys of the image
	New     int64 // keys that the index did not have: they are this shard's now
	// MovedTo is the standby shard that got the Moved objects of the table that the
	// image does not have; "" where the image has all of them.
	MovedTo string
	Moved   int64
}

// AdoptImage makes the complete image in a pool the image of the shard, which the claim
// has for writing or packing: the database is older than the image, because it was
// restored from a backup. The caller has read all of the image and vouches that each
// of keys has its SHA-256 there. In one transaction that proves the claim
//
//   - keys that the index does not have become this shard's, and so do those that are
//     marked deleted: the table lost them when they were deleted, and the image has
//     them, so they were added again after the backup; or they were deleted while the
//     image was being made. A deletion can be repeated, a lost object cannot;
//   - objects of the table that the image does not have move to a new shard, which
//     is standby, with their index rows;
//   - the shard becomes readonly in that pool, with record as its image's, no host has
//     mapped it, it is no longer quarantined, and its table is dropped.
//
// It takes as long as reading the keys and the table, and uses up the claim.
// *StateError if the claim is lost; an error that keys yields is returned. After
// an error nothing was changed.
func (c *Claim) AdoptImage(ctx context.Context, pool string, record ImageRecord, keys iter.Seq2[ObjID, error]) (done Adopted, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	source := newKeySource(keys)
	err = transaction(ctx, c.base.conns.lists, beginTx, func(tx pgx.Tx) error {
		s, err := lockShard(ctx, tx, c.name)
		if err != nil {
			return err
		}
		if s.Locker != c.locker || s.State != c.state || c.state != StateWriting && c.state != StatePacking {
			return notHeld(ctx, tx, c.name, c.locker, c.state)
		}
		if _, err := tx.Exec(ctx, `/* winery: CreateAdoptedKeys */
			CREATE TEMPORARY TABLE winery_adopt (key bytea PRIMARY KEY) ON COMMIT DROP`); err != nil {
			return err
		}
		done.Objects, err = c.base.copyKeys(ctx, tx, `/* winery: CopyAdoptedKeys */
			COPY pg_temp.winery_adopt (key) FROM STDIN (FORMAT binary)`, source)
		if err != nil {
			return err
		}
		if done.New, err = c.indexAdopted(ctx, tx); err != nil {
			return err
		}
		if err = c.lockAdopted(ctx, tx); err != nil {
			return err
		}
		if done.MovedTo, done.Moved, err = c.moveOthers(ctx, tx); err != nil {
			return err
		}
		return c.becomeAdopted(ctx, tx, pool, record)
	})
	switch failed := source.close(); {
	case failed != nil:
		return Adopted{}, failed
	case err != nil:
		return Adopted{}, c.base.explain(ctx, "adopting the image of shard "+c.name, err)
	}
	c.becomes(StateReadOnly)
	return done, nil
}

// indexAdopted gives the shard the keys that the index does not have as present, in
// their order, as Add does.
func (c *Claim) indexAdopted(ctx context.Context, tx pgx.Tx) (added int64, err error) {
	done, err := tx.Exec(ctx, `/* winery: IndexAdoptedKeys */
		INSERT INTO signature2shard AS o (signature, shard, state)
		SELECT key, $1, 'present' FROM pg_temp.winery_adopt ORDER BY key
		ON CONFLICT (signature) DO UPDATE SET shard = excluded.shard, state = 'present'
			WHERE o.state <> 'present'`, c.id)
	return done.RowsAffected(), err
}

// toMove is the part of a query that selects the objects t which are in the table and not in the image: $1 is the
// number of the shard that has them, o their index rows.
func (c *Claim) toMove() string {
	return ` FROM ` + quoteTable(c.name) + ` t
		JOIN signature2shard o ON o.signature = t.key AND o.shard = $1 AND o.state = 'present'
		WHERE NOT EXISTS (SELECT FROM pg_temp.winery_adopt a WHERE a.key = t.key) `
}

// lockAdopted locks the index rows of the objects to move, and then the table, in the order in which a deletion does.
// From then on deletions of the shard's objects wait, and so do readers of the table, who find the image afterwards.
func (c *Claim) lockAdopted(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `/* winery: LockRowsToMove */ WITH locked AS (
			SELECT 1`+c.toMove()+`ORDER BY o.signature FOR NO KEY UPDATE OF o)
		SELECT count(*) FROM locked`, c.id)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "/* winery: LockAdoptedTable */ LOCK TABLE "+quoteTable(c.name)+" IN ACCESS EXCLUSIVE MODE")
	return err
}

// moveOthers moves the objects that are in the table and not in the image.
func (c *Claim) moveOthers(ctx context.Context, tx pgx.Tx) (to string, moved int64, err error) {
	selected := "SELECT t.key, t.content" + c.toMove()
	var exists bool
	err = tx.QueryRow(ctx, "/* winery: FindRowsToMove */ SELECT EXISTS ("+selected+")", c.id).Scan(&exists)
	if err != nil || !exists {
		return "", 0, err
	}
	to = newName()
	var id int64
	err = tx.QueryRow(ctx, `/* winery: CreateStandbyShard */
		INSERT INTO shards AS s (name, state, pool_name) VALUES ($1, 'standby', $2) RETURNING id, `+notify, to, c.pool).Scan(&id, nil)
	if err != nil {
		return "", 0, err
	}
	if err := createTable(ctx, tx, to, StateStandby, uuid.Nil); err != nil {
		return "", 0, err
	}
	copied, err := tx.Exec(ctx, "/* winery: MoveRows */ INSERT INTO "+quoteTable(to)+" (key, content) "+selected, c.id)
	if err != nil {
		return "", 0, err
	}
	indexed, err := tx.Exec(ctx, `/* winery: IndexMovedRows */
		UPDATE signature2shard SET shard = $1 FROM `+quoteTable(to)+` t WHERE signature = t.key AND shard = $2`, id, c.id)
	if err == nil && indexed.RowsAffected() != copied.RowsAffected() {
		err = fmt.Errorf("%d objects were copied to shard %s, but %d index rows were moved", copied.RowsAffected(), to, indexed.RowsAffected())
	}
	return to, copied.RowsAffected(), err
}

func (c *Claim) becomeAdopted(ctx context.Context, tx pgx.Tx, pool string, record ImageRecord) error {
	var held bool
	err := tx.QueryRow(ctx, "/* winery: DropAdoptedTable */ SELECT winery_drop_adopted_table($1, $2)", c.name, c.locker).Scan(&held)
	if err == nil && !held {
		err = notHeld(ctx, tx, c.name, c.locker, c.state)
	}
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `/* winery: EndAdoption */
		WITH ended AS (DELETE FROM winery_lease WHERE shard = $1),
			counted AS (DELETE FROM winery_total WHERE shard = $1),
			released AS (DELETE FROM winery_quarantine WHERE shard = $1),
			moved AS (UPDATE shards s SET state = 'readonly', pool_name = $2, locker = NULL, locker_ts = NULL, mapped_on_hosts_when_packed = '{}'
				WHERE id = $1 RETURNING `+notify+`)
		SELECT FROM moved`, c.id, pool)
	if err != nil {
		return err
	}
	return recordVerifiedImage(ctx, tx, c.id, record)
}
