// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"context"
	_ "embed"

	"github.com/jackc/pgx/v5"
)

// SchemaVersion is the version of the schema that this package speaks, the one
// of swh.objstorage 7.2.0 to 7.4.1.
const SchemaVersion = 5

//go:embed sql/schema.sql
var schema string

// initLock is the advisory lock (of the transaction) that makes two
// initialisations or upgrades at once one after the other.
const initLock = 0x57494e45 // WINE

// Init makes the schema in an empty database, in one transaction. It returns
// false where the schema is there already, having attached this Winery to it,
// and *VersionError where another version of it is.
func (b *SharedBase) Init(ctx context.Context) (created bool, err error) {
	var found int
	err = b.inTx(ctx, "making the database's schema", func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", initLock); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, "SELECT to_regclass('dbversion') IS NULL").Scan(&created); err != nil {
			return err
		}
		if created {
			if _, err := tx.Exec(ctx, schema); err != nil {
				return err
			}
			return attach(ctx, tx)
		}
		return tx.QueryRow(ctx, newestVersion).Scan(&found)
	})
	if err == nil && !created {
		if err = versionError(found); err == nil {
			err = b.Attach(ctx)
		}
	}
	return created && err == nil, err
}

const newestVersion = "SELECT coalesce(max(version), 0) FROM dbversion"

// Version returns the version of the database's schema, ErrNotInitialised
// where there is none.
func (b *SharedBase) Version(ctx context.Context) (version int, err error) {
	err = b.withShortTimeout(ctx, "asking for the schema's version", func(ctx context.Context) error {
		return b.conns.rest.QueryRow(ctx, newestVersion).Scan(&version)
	})
	if err == nil && version == 0 {
		err = ErrNotInitialised
	}
	return version, err
}

// CheckVersion returns nil where the database has SchemaVersion, else
// *VersionError or ErrNotInitialised.
func (b *SharedBase) CheckVersion(ctx context.Context) error {
	found, err := b.Version(ctx)
	if err != nil {
		return err
	}
	return versionError(found)
}

func versionError(found int) error {
	if found != SchemaVersion {
		return &VersionError{Found: found, Want: SchemaVersion}
	}
	return nil
}
