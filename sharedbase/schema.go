// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"

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

// InitOption changes what Init creates.
type InitOption func(*layout)

type layout struct{ partitions int }

// MaxIndexPartitions is the most that WithIndexPartitions takes.
const MaxIndexPartitions = 1024

// WithIndexPartitions has the index of objects in n tables, by a hash of the object's id,
// instead of one: vacuum, REINDEX and backups then work on parts, which may be in
// different tablespaces. Python's statements are the same. n is from 1, which is one table,
// to MaxIndexPartitions.
func WithIndexPartitions(n int) InitOption { return func(l *layout) { l.partitions = n } }

// create creates the schema.
func (l layout) create(ctx context.Context, tx pgx.Tx) error {
	if l.partitions <= 1 {
		_, err := tx.Exec(ctx, "/* winery: Init */ "+schema)
		return err
	}
	const clause = "PARTITION BY HASH (signature)"
	_, err := tx.Exec(ctx, "/* winery: InitPartitioned */ "+strings.Replace(schema, "/* "+clause+" */", clause, 1))
	for i := 0; i < l.partitions && err == nil; i++ {
		_, err = tx.Exec(ctx, fmt.Sprintf(`/* winery: CreatePartition */
			CREATE TABLE signature2shard_%d PARTITION OF signature2shard FOR VALUES WITH (MODULUS %d, REMAINDER %d)`, i, l.partitions, i))
	}
	return err
}

// IndexPartitions returns the number of tables that the index of objects consists of.
func (b *SharedBase) IndexPartitions(ctx context.Context) (n int, err error) {
	err = b.withShortTimeout(ctx, "counting the partitions of the index", func(ctx context.Context) error {
		return b.conns.lookups.QueryRow(ctx, `/* winery: IndexPartitions */
			SELECT greatest(1, count(*)) FROM pg_inherits WHERE inhparent = 'signature2shard'::regclass`).Scan(&n)
	})
	return n, err
}

// Init creates the schema in an empty database, in one transaction. It returns
// false if the schema exists, after it has attached Go Winery to it;
// *VersionError if the schema has another version; and *ModuleError if the
// database belongs to another program.
func (b *SharedBase) Init(ctx context.Context, options ...InitOption) (created bool, err error) {
	var l layout
	for _, change := range options {
		change(&l)
	}
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
		if err := l.create(ctx, tx); err != nil {
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
