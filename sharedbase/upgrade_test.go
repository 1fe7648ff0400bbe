// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"winery/sharedbase"
	"winery/test/pgtest"
)

// prepared is what Python's prepare-upgrade does to a database of version 3.
const prepared = "ALTER TABLE shards ADD COLUMN pool_name text NOT NULL DEFAULT 'it''s'"

// oldBase returns a database as version 1 to 4 of the schema was, with more
// SQL run in it.
func oldBase(t testing.TB, version int, more string) (b *sharedbase.SharedBase, dsn string) {
	t.Helper()
	sql := string(must(os.ReadFile("sql/schema.sql"))(t))
	without := func(text, instead string) {
		t.Helper()
		if !strings.Contains(sql, text) {
			t.Fatalf("the schema has no %q", text)
		}
		sql = strings.ReplaceAll(sql, text, instead)
	}
	without(", 'importing'", "")
	without("VALUES (5,", fmt.Sprintf("VALUES (%d,", version))
	if version < 4 {
		without(",\n    pool_name text NOT NULL", "")
	}
	for _, table := range []string{"t_read", "t_write"} {
		if version < 3 {
			sql += fmt.Sprintf("CREATE TABLE %s (id serial PRIMARY KEY, updated timestamp NOT NULL, bytes integer NOT NULL);", table)
		}
		if version == 2 {
			sql += fmt.Sprintf("CREATE INDEX %[1]s_updated ON %[1]s USING brin (updated);", table)
		}
	}
	dsn = pgtest.New(t)
	exec(t, connect(t, dsn), sql+more)
	return open(t, dsn), dsn
}

func versionOf(t testing.TB, b *sharedbase.SharedBase) int {
	t.Helper()
	return must(b.Version(t.Context()))(t)
}

// Every older schema, also one that Python began to upgrade, becomes what a new
// database has, with every shard and object in it.
func TestUpgrade(t *testing.T) {
	const name = "i0123456789abcdef0123456789abcde"
	const shard = `
		CREATE TABLE shard_` + name + ` (LIKE shard_template INCLUDING ALL);
		INSERT INTO shard_` + name + ` VALUES (sha256('old'), 'old');
		INSERT INTO signature2shard SELECT key, 'present', (SELECT id FROM shards) FROM shard_` + name + ";"
	const unpooled = "INSERT INTO shards (state, name) VALUES ('full', '" + name + "');" + shard
	const pooled = "INSERT INTO shards (state, name, pool_name) VALUES ('full', '" + name + "', 'it''s');" + shard
	_, fresh := newBase(t)
	for _, test := range []struct {
		what       string
		version    int
		more, pool string
	}{
		{"1", 1, unpooled, "it's"},
		{"1, half upgraded", 1, "CREATE INDEX t_read_updated ON t_read USING brin (updated);" + unpooled, "it's"},
		{"2", 2, unpooled, "it's"},
		{"2, half upgraded", 2, "DROP TABLE t_read, t_write;" + unpooled, "it's"},
		{"3", 3, unpooled, "it's"},
		{"3, prepared", 3, unpooled + prepared, ""},
		{"3, prepared, and named again", 3, unpooled + prepared, "it's"},
		{"4", 4, pooled, ""},
		{"4, prepared at 3", 4, "ALTER TABLE shards ALTER pool_name SET DEFAULT 'it''s';" + unpooled, "ignored"},
		{"4, half upgraded", 4, "ALTER TYPE shard_state ADD VALUE 'importing';" + pooled, ""},
	} {
		t.Run(test.what, func(t *testing.T) {
			ctx := t.Context()
			b, dsn := oldBase(t, test.version, test.more)
			steps := must(b.PlanUpgrade(ctx, test.pool))(t)
			if v := versionOf(t, b); v != test.version {
				t.Errorf("planning made version %d", v)
			}
			var done []sharedbase.UpgradeStep
			note := func(s sharedbase.UpgradeStep) {
				if v := versionOf(t, b); v != s.Version {
					t.Errorf("step %d made version %d", s.Version, v)
				}
				done = append(done, s)
			}
			if err := b.Upgrade(ctx, test.pool, note); err != nil {
				t.Fatal(err)
			}
			if len(done) != 5-test.version || !slices.Equal(done, steps) {
				t.Errorf("planned %+v, done %+v", steps, done)
			}
			pgtest.SameSchema(t, dsn, fresh.Config().ConnString())
			if err := b.CheckVersion(ctx); err != nil {
				t.Error(err)
			}
			if n := count(t, connect(t, dsn), "SELECT count(*) FROM dbversion"); n != 1+len(done) {
				t.Errorf("the history has %d versions", n)
			}
			if s := must(b.ShardByName(ctx, name))(t); s.Pool != "it's" || s.State != sharedbase.StateFull {
				t.Errorf("%+v", s)
			}
			present(t, b, name, object("old"))
			c := must(b.LockWritingShard(ctx, "new"))(t)
			must(b.Add(ctx, c, objects("old", "new")))(t)
			present(t, b, name, object("old"))
			present(t, b, c.Name(), object("new"))

			done = nil
			if err := b.Upgrade(ctx, test.pool, note); err != nil || len(done) != 0 {
				t.Errorf("a second upgrade: %v, %+v", err, done)
			}
		})
	}
}

// What cannot be upgraded to the end is not begun.
func TestUpgradeRefused(t *testing.T) {
	const shard = "INSERT INTO shards (name) VALUES ('i');"
	const foreign = "ALTER TABLE shards RENAME TO baskets;" // as in another module's database
	for _, test := range []struct {
		what       string
		version    int
		more, pool string
		says       string
	}{
		{"no pool", 1, shard, "", "--pool-name"},
		{"no pool, no shards", 3, "", "", "--pool-name"},
		{"another pool", 3, shard + prepared, "other", `in pool "it's", not in "other"`},
		{"the future", 4, "INSERT INTO dbversion VALUES (6)", "pool", "version 6, this program needs version 5: use a newer Winery"},
		{"no version", 4, "DELETE FROM dbversion", "pool", "dbversion is empty"},
		{"foreign, 1", 1, foreign, "pool", "not initialised"},
		{"foreign, 2", 2, foreign, "pool", "not initialised"},
		{"foreign, 3", 3, foreign, "pool", "not initialised"},
		{"foreign, 4", 4, foreign, "pool", "not initialised"},
	} {
		t.Run(test.what, func(t *testing.T) {
			b, dsn := oldBase(t, test.version, test.more)
			const history = "SELECT coalesce(sum(version), 0) FROM dbversion"
			conn := connect(t, dsn)
			before := count(t, conn, history)
			err := b.Upgrade(t.Context(), test.pool, func(s sharedbase.UpgradeStep) { t.Errorf("did step %d", s.Version) })
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%v, expected %q", err, test.says)
			}
			if after := count(t, conn, history); after != before {
				t.Error("the version has changed")
			}
		})
	}
	if err := open(t, pgtest.New(t)).Upgrade(t.Context(), "pool", nil); !errors.Is(err, sharedbase.ErrNotInitialised) {
		t.Errorf("an empty database: %v", err)
	}
}

// Several at once all succeed, and each step is done once.
func TestUpgradeAtOnce(t *testing.T) {
	b, dsn := oldBase(t, 1, "")
	var results []<-chan error
	for range 4 {
		results = append(results, background(func() error { return b.Upgrade(t.Context(), "pool", func(sharedbase.UpgradeStep) {}) }))
	}
	for _, r := range results {
		if err := <-r; err != nil {
			t.Error(err)
		}
	}
	if n := count(t, connect(t, dsn), "SELECT count(*) FROM dbversion"); n != 5 {
		t.Errorf("the history has %d versions", n)
	}
}

// An upgrade that was stopped after a step continues from there.
func TestUpgradeResumes(t *testing.T) {
	b, dsn := oldBase(t, 1, "")
	ctx, stop := context.WithCancel(t.Context())
	err := b.Upgrade(ctx, "pool", func(s sharedbase.UpgradeStep) {
		if s.Version == 3 {
			stop()
		}
	})
	if v := versionOf(t, b); !errors.Is(err, context.Canceled) || v != 3 {
		t.Errorf("stopped at version %d: %v", v, err)
	}
	if err := b.Upgrade(t.Context(), "pool", func(sharedbase.UpgradeStep) {}); err != nil {
		t.Error(err)
	}
	_, fresh := newBase(t)
	pgtest.SameSchema(t, dsn, fresh.Config().ConnString())
}

// A step whose last statement fails changes nothing.
func TestUpgradeStepIsOneTransaction(t *testing.T) {
	for failing := 2; failing <= 5; failing++ {
		obstacle := fmt.Sprintf("ALTER TABLE dbversion ADD CHECK (version <> %d);", failing)
		b, dsn := oldBase(t, 1, obstacle)
		err := b.Upgrade(t.Context(), "pool", func(sharedbase.UpgradeStep) {})
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("version %d", failing)) || versionOf(t, b) != failing-1 {
			t.Errorf("step %d: version %d, %v", failing, versionOf(t, b), err)
		}
		// The whole schema is that of the version before; but for defaults, which prepare-upgrade leaves too.
		_, before := oldBase(t, failing-1, obstacle)
		if failing == 5 {
			exec(t, connect(t, before), "ALTER TABLE shards ALTER pool_name SET DEFAULT 'pool'")
		}
		pgtest.SameSchema(t, dsn, before)
	}
}

// The upgrade fails after a while, and names the application that blocks it.
func TestUpgradeBlocked(t *testing.T) {
	t.Parallel()
	b, dsn := oldBase(t, 3, "")
	busy := connect(t, dsn)
	exec(t, busy, "SET application_name = 'busy packer'; BEGIN; SELECT count(*) FROM shards")
	err := b.Upgrade(t.Context(), "pool", func(sharedbase.UpgradeStep) {})
	if !errors.Is(err, sharedbase.ErrUnavailable) || !strings.Contains(err.Error(), "stop every role") || !strings.Contains(err.Error(), "busy packer") {
		t.Errorf("%v", err)
	}
	if v := versionOf(t, b); v != 3 {
		t.Errorf("version %d", v)
	}
}

// TestUpgradeByHand: the planned SQL alone makes a database what Upgrade makes of it.
func TestUpgradeByHand(t *testing.T) {
	const ours = `SELECT string_agg(name, ' ' ORDER BY name) FROM (
		SELECT relname::text FROM pg_class WHERE relname LIKE 'winery\_%'
		UNION ALL SELECT proname FROM pg_proc WHERE proname LIKE 'winery\_%'
		UNION ALL SELECT tgname FROM pg_trigger WHERE tgname LIKE 'winery\_%'
		UNION ALL SELECT 'version ' || version FROM winery_version) AS own (name)`
	_, fresh := newBase(t)
	var want string
	if err := fresh.QueryRow(t.Context(), ours).Scan(&want); err != nil {
		t.Fatal(err)
	}
	for version := 3; version <= sharedbase.SchemaVersion; version++ {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			var dsn string
			if version == sharedbase.SchemaVersion {
				dsn = detached(t)
			} else {
				_, dsn = oldBase(t, version, "")
			}
			b, conn, ctx := open(t, dsn), connect(t, dsn), t.Context()
			exec(t, conn, "ALTER TABLE shard_template ALTER content SET COMPRESSION pglz")
			for _, step := range must(b.PlanUpgrade(ctx, "pool"))(t) {
				exec(t, conn, step.SQL)
			}
			exec(t, conn, must(b.PlanTune(ctx))(t))
			exec(t, conn, must(b.PlanAttach(ctx))(t))
			if err := b.CheckAttached(ctx); err != nil {
				t.Error(err)
			}
			if method := must(b.Compression(ctx))(t); method != "lz4" {
				t.Errorf("contents are compressed by %q", method)
			}
			var got string
			if err := conn.QueryRow(ctx, ours).Scan(&got); err != nil || got != want {
				t.Errorf("%v, got %s, want %s", err, got, want)
			}
			if left := must(b.PlanTune(ctx))(t) + must(b.PlanAttach(ctx))(t); left != "" {
				t.Errorf("still to be done: %s", left)
			}
			pgtest.SameSchema(t, dsn, fresh.Config().ConnString())
		})
	}
}
