// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"cmp"
	"context"
	_ "embed"
	"errors"

	"github.com/jackc/pgx/v5"
)

// SchemaVersion is the version of the schema that this package speaks, the one
// of swh.objstorage 7.2.0 to 7.4.1.
const SchemaVersion = 5

//go:embed sql/schema.sql
var schema string

// lockSchema makes initialisations and upgrades that run at once wait for each
// other, until the end of the transaction.
func lockSchema(ctx context.Context, tx pgx.Tx) error {
	const key = 0x57494e45 // WINE
	_, err := tx.Exec(ctx, "/* winery: LockSchema */ SELECT pg_advisory_xact_lock($1)", key)
	return err
}

// Init creates the schema in an empty database, in one transaction. It returns
// false if the schema exists, after it has attached Go Winery to it;
// *VersionError if the schema has another version; and *ModuleError if the
// database belongs to another program.
func (b *SharedBase) Init(ctx context.Context) (created bool, err error) {
	err = b.inTx(ctx, "creating the database's schema", func(ctx context.Context, tx pgx.Tx) error {
		if err := lockSchema(ctx, tx); err != nil {
			return err
		}
		found, err := findVersion(ctx, tx)
		if err == nil {
			return versionError(found)
		}
		if !errors.Is(err, ErrNotInitialised) {
			return err
		}
		created = true
		if _, err := tx.Exec(ctx, "/* winery: Init */ "+schema); err != nil {
			return err
		}
		if err := tune(ctx, tx); err != nil {
			return err
		}
		return attach(ctx, tx)
	})
	if err == nil && !created {
		err = b.Attach(ctx)
	}
	return created && err == nil, err
}

// module is Winery's name in the table dbmodule, which swh.core keeps in the database of each of its modules.
const module = "objstorage.backends.winery"

// findVersion returns the version of the schema. The errors are those of Version.
func findVersion(ctx context.Context, db querier) (version int, err error) {
	var versioned, named bool
	err = db.QueryRow(ctx, `/* winery: FindVersionTables */
		SELECT to_regclass('dbversion') IS NOT NULL, to_regclass('dbmodule') IS NOT NULL`).Scan(&versioned, &named)
	if err != nil || !versioned {
		return 0, cmp.Or(err, ErrNotInitialised)
	}
	var found string
	if named {
		if err := db.QueryRow(ctx, `/* winery: FindModule */
			SELECT coalesce(min(dbmodule), '') FROM dbmodule`).Scan(&found); err != nil {
			return 0, err
		}
	}
	if found != module {
		return 0, &ModuleError{Found: found}
	}
	version, err = newestVersion(ctx, db)
	if err == nil && version == 0 {
		err = versionError(version)
	}
	return version, err
}

// newestVersion returns the newest version that the table of versions has, 0 where the table is empty.
func newestVersion(ctx context.Context, db querier) (version int, err error) {
	err = db.QueryRow(ctx, "/* winery: NewestVersion */ SELECT coalesce(max(version), 0) FROM dbversion").Scan(&version)
	return version, err
}

// Version returns the version of the database's schema: ErrNotInitialised where
// there is none, *ModuleError where the database is another program's, and
// *VersionError where the table of versions is empty.
func (b *SharedBase) Version(ctx context.Context) (version int, err error) {
	err = b.withShortTimeout(ctx, "reading the schema's version", func(ctx context.Context) error {
		version, err = findVersion(ctx, b.conns.rest)
		return err
	})
	return version, err
}

// CheckVersion returns nil where the database has SchemaVersion, else
// *VersionError, or an error of Version's. It changes nothing.
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
