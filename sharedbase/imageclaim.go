// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// ErrImageClaimed is returned where another process has the claim to the image.
var ErrImageClaimed = errors.New("another process has the claim to the image")

// ImageClaim is the right of its holder to change the image of a shard that is
// packed: to erase deleted objects in it, to restore it, to move it to another
// pool. One process has it at a time. It says nothing of the shard's table, which
// a cleaner may drop meanwhile, under a [Claim].
// Its methods may be called from any number of goroutines.
type ImageClaim struct {
	*heldLease
	id         int64
	name, pool string
	repair     bool
}

// ClaimImage claims the image of a shard, in its current pool. It returns
// ErrNotFound if there is no such shard, *StateError if the shard has no image
// yet, *QuarantinedError, and ErrImageClaimed.
func (b *SharedBase) ClaimImage(ctx context.Context, name string) (*ImageClaim, error) {
	return b.claimImage(ctx, name, false)
}

// claimImage is ClaimImage. With repair, the shard may be quarantined, now or while the
// claim is held.
func (b *SharedBase) claimImage(ctx context.Context, name string, repair bool) (*ImageClaim, error) {
	c := &ImageClaim{heldLease: b.newLease(), name: name, repair: repair}
	asked := time.Now()
	err := b.inTx(ctx, "claiming the image of shard "+name, func(ctx context.Context, tx pgx.Tx) error {
		s, err := lockShard(ctx, tx, name)
		if err != nil {
			return err
		}
		if !s.State.ImageAvailable() {
			return &StateError{Shard: name, Found: s.State, FoundLocker: s.Locker, Expected: StatePacked}
		}
		c.pool = s.Pool
		taken, err := tx.Exec(ctx, `/* winery: ClaimImage */
			INSERT INTO winery_image_lease AS l (locker, role, host, pid, version, expires, shard)
			SELECT @locker, @role, @host, @pid, @version, clock_timestamp() + @lease, @shard
			WHERE @repair OR NOT EXISTS (SELECT FROM winery_quarantine WHERE shard = @shard)
			ON CONFLICT (shard) DO UPDATE SET locker = excluded.locker, role = excluded.role, host = excluded.host,
				pid = excluded.pid, version = excluded.version, expires = excluded.expires
				WHERE l.expires < clock_timestamp()`,
			b.leaseArgs(c.locker, pgx.NamedArgs{"shard": s.ID, "repair": repair}))
		if err != nil {
			return err
		}
		if taken.RowsAffected() == 1 {
			c.id = s.ID
			return nil
		}
		if !repair {
			if err := quarantined(ctx, tx, s.ID, name); err != nil {
				return err
			}
		}
		return imageClaimed(ctx, tx, s)
	})
	if err == nil {
		b.keep(c.heldLease, asked)
		return c, nil
	}
	if c.id != 0 {
		_ = c.Release(ctx) // the answer to the commit is missing
	}
	return nil, err
}

// imageClaimed returns an error that names the holder of the claim to a shard's
// image.
func imageClaimed(ctx context.Context, tx pgx.Tx, s Shard) error {
	var l Lease
	err := tx.QueryRow(ctx, `/* winery: ImageClaimHolder */
		SELECT role, host, pid, expires FROM winery_image_lease WHERE shard = $1`, s.ID).
		Scan(&l.Role, &l.Host, &l.PID, &l.Expires)
	if err != nil {
		return err
	}
	return fmt.Errorf("shard %s: %w: %s, until %s unless it renews the claim", s.Name, ErrImageClaimed, l.Holder(), l.Expires.UTC().Format(time.RFC3339))
}

// Name is the shard's name.
func (c *ImageClaim) Name() string { return c.name }

// ID is the shard's number.
func (c *ImageClaim) ID() int64 { return c.id }

// Pool is the name of the pool that the image is in.
func (c *ImageClaim) Pool() string { return c.pool }

// Verify asks the database whether the claim holds at this moment: ErrLeaseLost,
// or *QuarantinedError unless it is a claim for repair. What is done next is only
// safe if a successor would undo or refuse it.
func (c *ImageClaim) Verify(ctx context.Context) error {
	return c.base.withShortTimeout(ctx, "verifying the claim to the image of shard "+c.name, func(ctx context.Context) error {
		return c.verify(ctx, c.base.conns.rest)
	})
}

func (c *ImageClaim) verify(ctx context.Context, db querier) error {
	var held bool
	err := db.QueryRow(ctx, `/* winery: VerifyImageClaim */
		SELECT EXISTS (SELECT FROM winery_image_lease l JOIN shards s ON s.id = l.shard
		WHERE l.shard = $1 AND l.locker = $2 AND l.expires > clock_timestamp()
			AND s.pool_name = $3 AND s.state IN ('packed', 'cleaning', 'readonly'))`, c.id, c.locker, c.pool).Scan(&held)
	switch {
	case err != nil:
		return err
	case !held:
		return fmt.Errorf("the image of shard %s in pool %s: %w", c.name, c.pool, ErrLeaseLost)
	case c.repair:
		return nil
	}
	return quarantined(ctx, db, c.id, c.name)
}

// inTx runs op in a transaction that proves the claim, which holds until the
// commit: a process that would take the claim, or quarantine the shard, waits for
// the lock of the shard's row.
func (c *ImageClaim) inTx(ctx context.Context, what string, op func(ctx context.Context, tx pgx.Tx, s Shard) error) error {
	return c.base.inTx(ctx, what, func(ctx context.Context, tx pgx.Tx) error {
		s, err := lockShard(ctx, tx, c.name)
		if err != nil {
			return err
		}
		if err := c.verify(ctx, tx); err != nil {
			return err
		}
		return op(ctx, tx, s)
	})
}

// MoveShard records that the image of a readonly shard is now in the pool to,
// which the caller has verified, and no longer in the claim's pool; no host has
// mapped it there yet. It uses up the claim; a second call has no effect.
// The record is nil if the image is the same there, byte by byte.
// *StateError if the shard is not readonly.
func (c *ImageClaim) MoveShard(ctx context.Context, to string, record *ImageRecord) error {
	what := fmt.Sprintf("moving shard %s from pool %s to %s", c.name, c.pool, to)
	err := c.inTx(ctx, what, func(ctx context.Context, tx pgx.Tx, s Shard) error {
		moved, err := tx.Exec(ctx, `/* winery: MoveShard */
			WITH moved AS (UPDATE shards s SET pool_name = $2, mapped_on_hosts_when_packed = '{}'
			WHERE id = $1 AND state = 'readonly' RETURNING `+notify+`) SELECT FROM moved`, c.id, to)
		if err == nil && moved.RowsAffected() == 0 {
			err = &StateError{Shard: c.name, Found: s.State, FoundLocker: s.Locker, Expected: StateReadOnly}
		}
		if err == nil && record != nil {
			err = recordVerifiedImage(ctx, tx, c.id, *record)
		}
		return err
	})
	if errors.Is(err, ErrLeaseLost) {
		if s, found := c.base.ShardByName(ctx, c.name); found == nil && s.Pool == to {
			return c.base.WaitDurable(ctx) // moved by an earlier attempt, whose answer was lost or said that the commit is not replicated
		}
	}
	return err
}

// RecordErased records that objects are not, or no longer, in the image: it
// removes the index rows of those that are marked deleted, and their notes in
// winery_erasure, and returns the number of these objects. The row of an object
// that is present again, or in another shard, stays.
func (c *ImageClaim) RecordErased(ctx context.Context, ids []ObjID) (erased int64, err error) {
	what := "removing deleted objects of shard " + c.name + " from the index"
	err = c.inTx(ctx, what, func(ctx context.Context, tx pgx.Tx, _ Shard) error {
		// In the order of their keys, as an Add takes them, and before the notes,
		// which its trigger makes last: else the two may wait for each other.
		_, err = tx.Exec(ctx, `/* winery: LockErasedObjects */
			SELECT FROM signature2shard WHERE signature = ANY ($1) AND shard = $2 AND state = 'deleted'
			ORDER BY signature FOR UPDATE`, keysOf(ids), c.id)
		if err != nil {
			return err
		}
		return tx.QueryRow(ctx, `/* winery: RecordErased */ WITH marks AS (DELETE FROM signature2shard
				WHERE signature = ANY ($1) AND shard = $2 AND state = 'deleted' RETURNING signature),
			notes AS (DELETE FROM winery_erasure WHERE signature = ANY ($1) AND shard = $2 RETURNING signature)
			SELECT count(*) FROM (TABLE marks UNION TABLE notes) gone`, keysOf(ids), c.id).Scan(&erased)
	})
	return erased, err
}

// RemoveAbsent removes from the index objects that are present in the readonly shard, and that
// the holder of the claim has found its whole image not to have: they were erased, and the
// database is older than that, restored from a backup. The next Add of one of them stores the
// object. It returns how many were present until now. *StateError if the shard is not readonly:
// its table may have the objects.
func (c *ImageClaim) RemoveAbsent(ctx context.Context, ids []ObjID) (removed int64, err error) {
	what := "removing objects that the image of shard " + c.name + " does not have from the index"
	err = c.inTx(ctx, what, func(ctx context.Context, tx pgx.Tx, s Shard) error {
		if s.State != StateReadOnly {
			return &StateError{Shard: c.name, Found: s.State, FoundLocker: s.Locker, Expected: StateReadOnly}
		}
		// In the order of their keys, as an Add takes them.
		_, err := tx.Exec(ctx, `/* winery: LockAbsentObjects */
			SELECT FROM signature2shard WHERE signature = ANY ($1) AND shard = $2 AND state = 'present'
			ORDER BY signature FOR UPDATE`, keysOf(ids), c.id)
		if err != nil {
			return err
		}
		gone, err := tx.Exec(ctx, `/* winery: RemoveAbsentObjects */
			DELETE FROM signature2shard WHERE signature = ANY ($1) AND shard = $2 AND state = 'present'`, keysOf(ids), c.id)
		removed = gone.RowsAffected()
		return err
	})
	return removed, err
}

// Release releases the claim. It continues after ctx has ended, and retries for
// up to ten seconds while the database is unavailable. It does nothing if the
// claim was released, or another process has it.
func (c *ImageClaim) Release(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releasing)
	defer cancel()
	err := persist(ctx, releasing, func() error {
		return c.base.withShortTimeout(ctx, "releasing the image of shard "+c.name, func(ctx context.Context) error {
			_, err := c.base.conns.rest.Exec(ctx, `/* winery: ReleaseImage */
				DELETE FROM winery_image_lease WHERE shard = $1 AND locker = $2`, c.id, c.locker)
			return err
		})
	})
	c.base.keeper.forget(c.heldLease)
	return err
}

// WithImage does work under a claim to the image of a shard, which it releases
// afterwards. The context of work ends when the lease is lost, which the error
// then says. Errors are those of ClaimImage, or of work.
func (b *SharedBase) WithImage(ctx context.Context, name string, work func(ctx context.Context, c *ImageClaim) error) error {
	return b.withImage(ctx, name, false, work)
}

// WithImageForRepair is WithImage for a shard that may be quarantined, now or while the
// claim is held.
func (b *SharedBase) WithImageForRepair(ctx context.Context, name string, work func(ctx context.Context, c *ImageClaim) error) error {
	return b.withImage(ctx, name, true, work)
}

func (b *SharedBase) withImage(ctx context.Context, name string, repair bool, work func(ctx context.Context, c *ImageClaim) error) (err error) {
	c, err := b.claimImage(ctx, name, repair)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Release(ctx)) }()
	return c.during(ctx, func(ctx context.Context) error { return work(ctx, c) })
}

// ImageLeases returns the leases of claims to images that hold now, by the shard's
// number.
func (b *SharedBase) ImageLeases(ctx context.Context) (map[int64]Lease, error) {
	leases := map[int64]Lease{}
	var l Lease
	err := b.each(ctx, b.conns.rest, "listing the claims to images",
		[]any{&l.ShardID, &l.Locker, &l.Role, &l.Host, &l.PID, &l.Version, &l.Expires}, func() { leases[l.ShardID] = l }, `/* winery: ImageLeases */
		SELECT shard, locker, role, host, pid, version, expires
		FROM winery_image_lease WHERE expires > clock_timestamp()`)
	return leases, ignoreNotAttached(err)
}
