// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// beside is what this Winery keeps beside the schema of Python's.
//
//go:embed sql/winery.sql
var beside string

// Attach is what a process does with a database before anything else: it checks
// the schema, with the errors of CheckVersion, and makes the tables that this
// Winery keeps beside it, where a database of Python's lacks them. Attaching
// again, or at the same moment elsewhere, changes nothing.
func (b *SharedBase) Attach(ctx context.Context) error {
	if err := b.CheckVersion(ctx); err != nil {
		return err
	}
	var there bool
	err := b.brief(ctx, "looking for the tables of winery_", func(ctx context.Context) (err error) {
		there, err = isAttached(ctx, b.pool)
		return err
	})
	if err != nil || there {
		return err
	}
	err = b.inTx(ctx, "making the tables of winery_", func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", initLock); err != nil {
			return err
		}
		return attach(ctx, tx)
	})
	if err != nil {
		err = fmt.Errorf("%w; or run `wineryctl db init` as a user that may", err)
	}
	return err
}

// attach makes the tables unless they are there. The caller holds initLock.
func attach(ctx context.Context, tx pgx.Tx) error {
	there, err := isAttached(ctx, tx)
	if err != nil || there {
		return err
	}
	_, err = tx.Exec(ctx, beside)
	return err
}

func isAttached(ctx context.Context, db querier) (there bool, err error) {
	// Not to_regclass: it answers from a cache, which misses what was made while
	// this session waited for initLock.
	err = db.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_class WHERE relname = 'winery_erasure'
		AND relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'shards'::regclass))`).Scan(&there)
	return there, err
}
