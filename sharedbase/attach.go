// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"context"
	"embed"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// The extension schema is what Go Winery adds to the schema that it shares with
// Python Winery: tables whose names begin with winery_. Each file N.sql brings it
// from version N-1 to N; a file that was released is never changed.
//
//go:embed sql/extension/*.sql
var extension embed.FS

// extensionVersion is the version of the extension schema that this package
// needs: the number of its files.
var extensionVersion = func() int {
	files, _ := extension.ReadDir("sql/extension") // it is embedded
	return len(files)
}()

// Attach prepares a database for a role: it checks the schema, with the errors of
// CheckVersion, and brings the extension schema to the version of this program.
// Attaching again, or at the same moment elsewhere, changes nothing. It waits half
// a second for the locks that it needs: ErrUnavailable where they are not free.
// ErrNotAttached where this user lacks the right to create tables.
func (b *SharedBase) Attach(ctx context.Context) error {
	err := b.CheckAttached(ctx)
	if !errors.Is(err, ErrNotAttached) {
		return err
	}
	err = b.inTx(ctx, "creating the tables winery_*", func(ctx context.Context, tx pgx.Tx) error {
		if err := lockSchema(ctx, tx); err != nil {
			return err
		}
		return attach(ctx, tx)
	})
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == notAllowed {
		err = fmt.Errorf("%w: %w", ErrNotAttached, err)
	}
	return err
}

// extensionPrefix is how the names of the extension's tables begin.
const extensionPrefix = "winery_"

// CheckAttached returns nil where the database is as Attach leaves it, and
// ErrNotAttached or an error of CheckVersion where it is not. It changes nothing.
// Without the extension, what is only read is as if its tables were empty: leases, records of images, notes of
// erasures, and quarantined shards.
func (b *SharedBase) CheckAttached(ctx context.Context) error {
	if err := b.CheckVersion(ctx); err != nil {
		return err
	}
	var found int
	err := b.withShortTimeout(ctx, "reading the version of the tables winery_*", func(ctx context.Context) (err error) {
		found, err = findExtension(ctx, b.conns.rest)
		return err
	})
	if err == nil && found < extensionVersion {
		err = ErrNotAttached
	}
	return err
}

// ignoreNotAttached drops ErrNotAttached: tables that do not exist yet have no rows.
func ignoreNotAttached(err error) error {
	if errors.Is(err, ErrNotAttached) {
		return nil
	}
	return err
}

// attach applies the missing versions of the extension schema. The caller holds
// lockSchema's lock.
func attach(ctx context.Context, tx pgx.Tx) error {
	found, err := findExtension(ctx, tx)
	if err != nil || found >= extensionVersion {
		return err
	}
	if _, err := tx.Exec(ctx, "/* winery: LimitAttachWait */ SET LOCAL lock_timeout = '500ms'"); err != nil {
		return err
	}
	for version := found + 1; version <= extensionVersion; version++ {
		sql, err := extensionSQL(version)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, fmt.Sprintf("/* winery: AttachVersion%d */ %s", version, sql)); err != nil {
			return err
		}
	}
	if _, err := tx.Exec(ctx, "/* winery: SetExtensionVersion */ UPDATE winery_version SET version = $1", extensionVersion); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "/* winery: GiveExtensionToOwner */ "+giveToOwner)
	return err
}

// giveToOwner gives the owner of Winery's tables what another user has made, such as the
// user root of a mapper: the other roles, which are the owner, would have no right to it.
// Where this user cannot do so, the tables stay as they are, and MissingRights tells of them.
const giveToOwner = `DO $give$
DECLARE
    shards record;
    made text;
BEGIN
    SELECT relnamespace AS schema, relowner AS owner INTO shards FROM pg_class WHERE oid = 'shards'::regclass;
    IF has_schema_privilege(shards.owner, shards.schema, 'CREATE') AND pg_has_role(shards.owner, 'MEMBER') THEN
        FOR made IN
            SELECT 'TABLE ' || oid::regclass FROM pg_class
                WHERE relnamespace = shards.schema AND relkind = 'r' AND relname LIKE 'winery\_%'
                    AND relowner <> shards.owner AND pg_has_role(relowner, 'MEMBER')
            UNION ALL SELECT 'FUNCTION ' || oid::regprocedure FROM pg_proc
                WHERE pronamespace = shards.schema AND proname LIKE 'winery\_%'
                    AND proowner <> shards.owner AND pg_has_role(proowner, 'MEMBER')
        LOOP
            EXECUTE format('ALTER %s OWNER TO %s', made, shards.owner::regrole);
        END LOOP;
    END IF;
END $give$`

// extensionSQL returns what brings the extension schema from the version before to version.
func extensionSQL(version int) (string, error) {
	sql, err := extension.ReadFile(fmt.Sprintf("sql/extension/%d.sql", version))
	return string(sql), err
}

// PlanAttach returns the SQL that Attach would run, in one transaction, and "" where the
// extension schema has the version of this program. The schema may be of an older version.
// It changes nothing.
func (b *SharedBase) PlanAttach(ctx context.Context) (sql string, err error) {
	var found int
	err = b.withShortTimeout(ctx, "reading the version of the tables winery_*", func(ctx context.Context) (err error) {
		found, err = findExtension(ctx, b.conns.rest)
		return err
	})
	if err != nil || found >= extensionVersion {
		return "", err
	}
	for version := found + 1; version <= extensionVersion; version++ {
		step, err := extensionSQL(version)
		if err != nil {
			return "", err
		}
		sql += step + "\n"
	}
	return sql + fmt.Sprintf("UPDATE winery_version SET version = %d;\n%s;\n", extensionVersion, giveToOwner), nil
}

// findExtension returns the version of the extension schema, 0 where there is none.
func findExtension(ctx context.Context, db querier) (version int, err error) {
	// Not to_regclass: it answers from a cache, which misses what was made while
	// this session waited in lockSchema.
	var exists bool
	err = db.QueryRow(ctx, `/* winery: FindExtension */
		SELECT EXISTS (SELECT FROM pg_class WHERE relname = 'winery_version'
		AND relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'shards'::regclass))`).Scan(&exists)
	if err != nil || !exists {
		return 0, err
	}
	err = db.QueryRow(ctx, "/* winery: ExtensionVersion */ SELECT version FROM winery_version").Scan(&version)
	return version, err
}
