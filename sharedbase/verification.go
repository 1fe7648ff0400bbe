// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// RecordVerified notes that the whole image of a shard was read back just now, and
// has all that it should have.
func (b *SharedBase) RecordVerified(ctx context.Context, shardID int64) error {
	return b.withShortTimeout(ctx, fmt.Sprintf("recording the verification of shard number %d", shardID), func(ctx context.Context) error {
		_, err := b.conns.rest.Exec(ctx, `/* winery: RecordVerified */
			INSERT INTO winery_verification (shard) VALUES ($1) ON CONFLICT (shard) DO UPDATE SET at = excluded.at`, shardID)
		return err
	})
}

// Verification says when the image of a shard was last read back as a whole, by any
// host, and found right.
type Verification struct {
	ShardID    int64
	Name, Pool string
	At         time.Time // by the database's clock; zero: never
}

// Verifications lists the shards whose image is available (PACKED, CLEANING, READONLY)
// and that are not quarantined, those first whose verification is longest ago.
func (b *SharedBase) Verifications(ctx context.Context) (all []Verification, err error) {
	rows, err := b.conns.lists.Query(ctx, `/* winery: Verifications */
		SELECT s.id, s.name::text, s.pool_name, v.at FROM shards s LEFT JOIN winery_verification v ON v.shard = s.id
		WHERE s.state IN ('packed', 'cleaning', 'readonly') AND NOT EXISTS (SELECT FROM winery_quarantine q WHERE q.shard = s.id)
		ORDER BY v.at NULLS FIRST, s.id`)
	if err == nil {
		var v Verification
		var at *time.Time
		_, err = pgx.ForEachRow(rows, []any{&v.ShardID, &v.Name, &v.Pool, &at}, func() error {
			v.At = time.Time{}
			if at != nil {
				v.At = *at
			}
			all = append(all, v)
			return nil
		})
	}
	return all, b.explain(ctx, "listing the images by their last verification", err)
}

// VerifiedSince says whether the image was verified after v was listed.
func (b *SharedBase) VerifiedSince(ctx context.Context, v Verification) (is bool, err error) {
	var at time.Time
	err = b.withShortTimeout(ctx, fmt.Sprintf("reading the last verification of shard number %d", v.ShardID), func(ctx context.Context) error {
		return b.conns.lookups.QueryRow(ctx, "/* winery: VerifiedSince */ SELECT at FROM winery_verification WHERE shard = $1", v.ShardID).Scan(&at)
	})
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return !at.Equal(v.At), err
}
