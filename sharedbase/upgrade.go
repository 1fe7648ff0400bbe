// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

//go:embed sql/upgrade/*.sql
var upgrades embed.FS

// UpgradeStep brings the schema from the version before to Version.
type UpgradeStep struct {
	Version int
	SQL     string // run in one transaction
}

// PlanUpgrade returns the steps that upgrade the database to SchemaVersion, in
// order; none if it has that version. It changes nothing. What Upgrade does after the
// steps is in PlanTune and PlanAttach.
//
// poolName is the pool that every shard is in, which a database does not know
// before version 4: an older one needs it, unless Python's prepare-upgrade has
// stored it; a newer one ignores it.
//
// It fails with ErrNotInitialised where there is no Winery, *VersionError where
// the database is newer than this program, and a plain error where poolName is
// missing or not what the database says.
func (b *SharedBase) PlanUpgrade(ctx context.Context, poolName string) (steps []UpgradeStep, err error) {
	found, err := b.Version(ctx)
	if err != nil {
		return nil, err
	}
	if found > SchemaVersion {
		return nil, versionError(found)
	}
	for version := found + 1; version <= SchemaVersion; version++ {
		sql, err := upgrades.ReadFile(fmt.Sprintf("sql/upgrade/%d.sql", version))
		if err != nil {
			return nil, err
		}
		step := UpgradeStep{Version: version, SQL: string(sql)}
		if version == poolVersion {
			quoted, err := b.poolOfAll(ctx, poolName)
			if err != nil {
				return nil, err
			}
			step.SQL = strings.ReplaceAll(step.SQL, ":'pool_name'", quoted)
		}
		steps = append(steps, step)
	}
	return steps, nil
}

// Upgrade plans as PlanUpgrade does, and then executes one step after the other,
// each in its own transaction, and calls done after each. An upgrade that was
// stopped between two steps leaves the version that it reached, from which the
// next upgrade continues; if several run at once, one of them executes each step.
// It waits a few seconds for other transactions: ErrUnavailable then names them.
// At last it tunes the database, as Tune does, if there was a step, and attaches Go
// Winery, as Attach does.
func (b *SharedBase) Upgrade(ctx context.Context, poolName string, done func(UpgradeStep)) error {
	steps, err := b.PlanUpgrade(ctx, poolName)
	for _, step := range steps {
		if err := b.upgrade(ctx, step); err != nil {
			return err
		}
		done(step)
	}
	if err == nil && len(steps) > 0 {
		err = b.inTx(ctx, "setting the compression of contents", tune)
	}
	if err != nil {
		return err
	}
	return b.Attach(ctx)
}

// upgrade executes a step, unless another process has done it meanwhile.
func (b *SharedBase) upgrade(ctx context.Context, step UpgradeStep) error {
	// Not within the time for what is brief: making an index takes its time.
	err := transaction(ctx, b.conns.rest, beginTx, func(tx pgx.Tx) error {
		if err := lockSchema(ctx, tx); err != nil {
			return err
		}
		found, err := newestVersion(ctx, tx)
		if err != nil || found >= step.Version {
			return err
		}
		_, err = tx.Exec(ctx, fmt.Sprintf("/* winery: UpgradeToVersion%d */ %s", step.Version, step.SQL))
		return err
	})
	if isLockTimeout(err) {
		err = fmt.Errorf("%w: stop every role of Go Winery and of Python Winery; open transactions: %s", err, b.others(ctx))
	}
	return b.explain(ctx, fmt.Sprintf("upgrading the schema to version %d", step.Version), err)
}

// poolVersion is the version from which on a shard knows its pool.
const poolVersion = 4

// poolOfAll returns the name of the pool of all shards as an SQL literal: the
// given name, or the one that prepare-upgrade has stored.
func (b *SharedBase) poolOfAll(ctx context.Context, given string) (quoted string, err error) {
	var stored string
	err = b.withShortTimeout(ctx, "planning the upgrade", func(ctx context.Context) error {
		// to_jsonb, for the column may or may not be there.
		err := b.conns.rest.QueryRow(ctx, `/* winery: FindPoolOfShards */
			SELECT coalesce(min(to_jsonb(shards) ->> 'pool_name'), '') FROM shards`).Scan(&stored)
		if err != nil {
			return err
		}
		return b.conns.rest.QueryRow(ctx, `/* winery: QuoteLiteral */
			SELECT quote_literal($1::text)`, cmp.Or(stored, given)).Scan(&quoted)
	})
	switch {
	case err != nil:
		return "", err
	case stored == "" && given == "":
		return "", errors.New("version 4 of the schema records the pool of each shard: name the pool of the existing shards with --pool-name")
	case stored != "" && given != "" && stored != given:
		return "", fmt.Errorf("the database records its shards in pool %q, not in %q: omit --pool-name", stored, given)
	}
	return quoted, nil
}

// others names the applications that have a transaction open in the database.
func (b *SharedBase) others(ctx context.Context) (names string) {
	err := b.withShortTimeout(ctx, "listing the open transactions", func(ctx context.Context) error {
		return b.conns.rest.QueryRow(ctx, `/* winery: OpenTransactions */
			SELECT coalesce(string_agg(DISTINCT coalesce(nullif(application_name, ''), 'a session of ' || usename), ', '), 'none')
			FROM pg_stat_activity WHERE datname = current_database() AND xact_start IS NOT NULL AND pid <> pg_backend_pid()`).Scan(&names)
	})
	if err != nil {
		return "unknown"
	}
	return names
}
