// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/pgtest"
)

func TestInit(t *testing.T) {
	dsn := pgtest.New(t)
	b, conn := open(t, dsn), connect(t, dsn)
	ctx := t.Context()
	if err := b.CheckVersion(ctx); !errors.Is(err, sharedbase.ErrNotInitialised) {
		t.Errorf("an empty database: %v", err)
	}
	if _, err := b.Locate(ctx, ids(object("x"))); !errors.Is(err, sharedbase.ErrNotInitialised) {
		t.Errorf("looking up in an empty database: %v", err)
	}
	for _, want := range []bool{true, false} {
		if created, err := b.Init(ctx); created != want || err != nil {
			t.Errorf("created: %v, %v", created, err)
		}
		if v, err := b.Version(ctx); v != sharedbase.SchemaVersion || err != nil || b.CheckVersion(ctx) != nil {
			t.Errorf("version %d, %v", v, err)
		}
	}
	for _, other := range []struct {
		version, change string
	}{
		{"6", "INSERT INTO dbversion VALUES (6)"},
		{"4", "DELETE FROM dbversion; INSERT INTO dbversion VALUES (3), (4)"},
	} {
		exec(t, conn, other.change)
		created, initErr := b.Init(ctx)
		for _, err := range []error{initErr, b.CheckVersion(ctx)} {
			var wrong *sharedbase.VersionError
			if created || !errors.As(err, &wrong) || !strings.Contains(err.Error(), "version "+other.version) || !strings.Contains(err.Error(), "version 5") {
				t.Errorf("version %s: %v", other.version, err)
			}
		}
	}
	exec(t, conn, "DELETE FROM dbversion")
	_, err := b.Init(ctx)
	for _, err := range []error{err, b.CheckVersion(ctx)} {
		if err == nil || !strings.Contains(err.Error(), "dbversion is empty") {
			t.Errorf("without a version: %v", err)
		}
	}
}

// TestIndexPartitions: an index of several tables takes and finds objects, and a lookup
// reads the one table that may have the object.
func TestIndexPartitions(t *testing.T) {
	dsn := pgtest.New(t)
	b, conn := open(t, dsn), connect(t, dsn)
	must(b.Init(t.Context(), sharedbase.WithIndexPartitions(7)))(t)
	if n := must(b.IndexPartitions(t.Context()))(t); n != 7 {
		t.Errorf("%d partitions", n)
	}
	var all []sharedbase.Object
	for i := range 300 {
		all = append(all, object(fmt.Sprint(i)))
	}
	s := shardIn(t, b, sharedbase.StateFull, all...)
	for i, l := range must(b.Locate(t.Context(), ids(all...)))(t) {
		if l.ShardID != s.ID {
			t.Errorf("object %d is in shard %d", i, l.ShardID)
		}
	}
	for i := range 7 {
		if n := count(t, conn, fmt.Sprintf("SELECT count(*) FROM signature2shard_%d", i)); n < 10 {
			t.Errorf("partition %d has %d of 300 rows", i, n)
		}
	}
	var plan string
	rows := must(conn.Query(t.Context(), "EXPLAIN (COSTS OFF) SELECT FROM signature2shard WHERE signature = $1", all[0].ID[:]))(t)
	for rows.Next() {
		var line string
		expect.NoError(t, rows.Scan(&line))
		plan += line + "\n"
	}
	expect.NoError(t, rows.Err())
	if n := strings.Count(plan, " Scan "); n != 1 {
		t.Errorf("a lookup reads %d tables:\n%s", n, plan)
	}
}

// A database of another module of Software Heritage has a dbversion, too: the
// errors of init and upgrade must not recommend each other.
func TestOtherModule(t *testing.T) {
	for change, found := range map[string]string{
		"UPDATE dbmodule SET dbmodule = 'storage'": `"storage"`,
		"DELETE FROM dbmodule":                     `""`,
		"DROP TABLE dbmodule":                      `""`,
	} {
		b, conn := newBase(t)
		exec(t, conn, change)
		created, initialised := b.Init(t.Context())
		_, planned := b.PlanUpgrade(t.Context(), "")
		upgraded := b.Upgrade(t.Context(), "", nil)
		for what, err := range map[string]error{
			"init": initialised, "plan": planned, "upgrade": upgraded, "check": b.CheckVersion(t.Context()), "attach": b.Attach(t.Context()),
		} {
			var other *sharedbase.ModuleError
			if created || !errors.As(err, &other) || !strings.Contains(err.Error(), "dbmodule says "+found) {
				t.Errorf("%s: %s: error %v", change, what, err)
			}
		}
	}
}

// Of several that initialise at once exactly one does, and none fails.
func TestInitAtOnce(t *testing.T) {
	b := open(t, pgtest.New(t))
	type result struct {
		created bool
		err     error
	}
	var results []<-chan result
	for range 4 {
		results = append(results, background(func() result {
			created, err := b.Init(t.Context())
			return result{created, err}
		}))
	}
	created := 0
	for _, r := range results {
		got := <-r
		if got.err != nil {
			t.Error(got.err)
		}
		if got.created {
			created++
		}
	}
	if created != 1 {
		t.Errorf("created %d times", created)
	}
}

// All or nothing: what is in the way leaves the database as it was.
func TestInitIsOneTransaction(t *testing.T) {
	dsn := pgtest.New(t)
	b, conn := open(t, dsn), connect(t, dsn)
	exec(t, conn, "CREATE TABLE shard_template ()")
	if created, err := b.Init(t.Context()); created || err == nil {
		t.Fatalf("created: %v, %v", created, err)
	}
	if n := count(t, conn, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"); n != 1 {
		t.Errorf("%d tables are left", n)
	}
}
