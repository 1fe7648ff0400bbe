// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// ImageRecord is what a shard's image was when it had been packed and verified.
type ImageRecord struct {
	Objects     int64    // that it was written with
	Bytes       int64    // of their contents
	Fingerprint [32]byte // the SHA-256 of its header and hash function, which erasing leaves as they are
}

// Packed moves the shard from packing to packed, which uses up the claim, and
// records its image in the same transaction. Errors are those of SetState.
func (c *Claim) Packed(ctx context.Context, image ImageRecord) error {
	return c.advance(ctx, StatePacked, func(ctx context.Context, tx pgx.Tx) error {
		return recordVerifiedImage(ctx, tx, c.id, image)
	})
}

// RecordImage replaces the record of the image, which the holder of the claim has
// made again from the shard's table: no host has mapped it.
func (c *ImageClaim) RecordImage(ctx context.Context, image ImageRecord) error {
	return c.inTx(ctx, "recording the image of shard "+c.name, func(ctx context.Context, tx pgx.Tx, _ Shard) error {
		if err := forgetMappedHosts(ctx, tx, c.id); err != nil {
			return err
		}
		return recordVerifiedImage(ctx, tx, c.id, image)
	})
}

// ForgetMappedHosts removes all hosts from the list of those that have mapped the image,
// which the holder of both claims is about to replace: a cleaner of Python Winery, which
// does not look at the image, would drop the table for a list that is long enough.
// *StateError if the claim to the shard is lost.
func (c *ImageClaim) ForgetMappedHosts(ctx context.Context, table *Claim) error {
	state := table.State()
	return c.inTx(ctx, "forgetting the hosts that have mapped the image of shard "+c.name, func(ctx context.Context, tx pgx.Tx, s Shard) error {
		if s.Locker != table.locker || s.State != state {
			return notHeld(ctx, tx, c.name, table.locker, state)
		}
		return forgetMappedHosts(ctx, tx, c.id)
	})
}

func forgetMappedHosts(ctx context.Context, tx pgx.Tx, shardID int64) error {
	_, err := tx.Exec(ctx, `/* winery: ForgetMappedHosts */
		UPDATE shards SET mapped_on_hosts_when_packed = '{}' WHERE id = $1`, shardID)
	return err
}

// RenewRecord replaces the record of a readonly shard's image by that of the whole image
// that the holder of the claim has read just now, and found to have each object of the
// shard. *StateError if the shard is not readonly.
func (c *ImageClaim) RenewRecord(ctx context.Context, image ImageRecord) error {
	return c.inTx(ctx, "renewing the record of the image of shard "+c.name, func(ctx context.Context, tx pgx.Tx, s Shard) error {
		if s.State != StateReadOnly {
			return &StateError{Shard: c.name, Found: s.State, FoundLocker: s.Locker, Expected: StateReadOnly}
		}
		return recordVerifiedImage(ctx, tx, c.id, image)
	})
}

// recordVerifiedImage is recordImage for an image whose contents were read back just now.
func recordVerifiedImage(ctx context.Context, tx pgx.Tx, shardID int64, i ImageRecord) error {
	return insertImage(ctx, tx, `/* winery: RecordVerifiedImage */
		WITH verified AS (INSERT INTO winery_verification (shard) VALUES ($1)
			ON CONFLICT (shard) DO UPDATE SET at = excluded.at) `, shardID, i)
}

func recordImage(ctx context.Context, tx pgx.Tx, shardID int64, i ImageRecord) error {
	return insertImage(ctx, tx, "/* winery: RecordImage */ ", shardID, i)
}

func insertImage(ctx context.Context, tx pgx.Tx, begin string, shardID int64, i ImageRecord) error {
	_, err := tx.Exec(ctx, begin+`
		INSERT INTO winery_image (shard, objects, bytes, fingerprint) VALUES ($1, $2, $3, $4)
		ON CONFLICT (shard) DO UPDATE SET objects = excluded.objects, bytes = excluded.bytes, fingerprint = excluded.fingerprint`,
		shardID, i.Objects, i.Bytes, i.Fingerprint[:])
	return err
}

// ImageRecord returns the record of a shard's image; false where there is none,
// because Python packed or imported it.
func (b *SharedBase) ImageRecord(ctx context.Context, shardID int64) (i ImageRecord, found bool, err error) {
	err = b.withShortTimeout(ctx, fmt.Sprintf("reading the record of the image of shard number %d", shardID), func(ctx context.Context) error {
		var fingerprint []byte
		err := b.conns.lookups.QueryRow(ctx, `/* winery: ImageRecord */
			SELECT objects, bytes, fingerprint FROM winery_image WHERE shard = $1`, shardID).
			Scan(&i.Objects, &i.Bytes, &fingerprint)
		copy(i.Fingerprint[:], fingerprint)
		return err
	})
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrNotAttached) {
		return ImageRecord{}, false, nil
	}
	return i, err == nil, err
}

// ErrOtherImage: an image is not the one that was packed.
var ErrOtherImage = errors.New("the image is not the one that was packed")

// CheckImage compares what an image is found to be with the record of the shard's:
// ErrOtherImage where they differ, nil where there is no record.
func (b *SharedBase) CheckImage(ctx context.Context, shardID, objects int64, fingerprint [32]byte) error {
	record, found, err := b.ImageRecord(ctx, shardID)
	if err != nil || !found || record.Objects == objects && record.Fingerprint == fingerprint {
		return err
	}
	return fmt.Errorf("%w: the image has %d objects and fingerprint %x, the database recorded %d and %x",
		ErrOtherImage, objects, fingerprint, record.Objects, record.Fingerprint)
}
