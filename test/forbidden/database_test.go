// SPDX-License-Identifier: GPL-3.0-or-later

// Package forbidden_test tries, with the credentials of each role, what the role must
// not be able to do. The table of docs/security.md has the same acts.
package forbidden_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"winery/sharedbase"
	"winery/test/dbusers"
	"winery/test/expect"
	"winery/test/pgtest"
)

// act is one that a user must not be able to do.
type act struct{ user, what, do string }

// The acts in the database. Each is refused for want of a right, apart from those that
// select from a function: it answers false, because the claim is not proven. {writing},
// {packed}, … are the names of shards in these states, {claim} is the locker of the one
// that is named before it.
var databaseActs = []act{
	{"writer", "drop a table", "DROP TABLE shard_{writing}"},
	{"writer", "empty a table at once", "TRUNCATE shard_{writing}"},
	{"writer", "create a table", "CREATE TABLE mine ()"},
	{"writer", "put a temporary table in front of one of Winery's", "CREATE TEMPORARY TABLE shards (id bigint)"},
	{"writer", "create a function or an operator", "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'"},
	{"writer", "create the table of a shard with a forged claim", "SELECT winery_create_table('{writing}', gen_random_uuid())"},
	{"writer", "create a table for a shard that has an image", "SELECT winery_create_table('{packed}', NULL)"},
	{"writer", "call the function that drops a table", "SELECT winery_drop_table('{cleaning}', '{claim}', 1)"},
	{"writer", "remove an index row", "DELETE FROM signature2shard"},
	{"writer", "change the record of a deletion", "UPDATE winery_deletion SET client = 'other'"},
	{"writer", "remove the record of a deletion", "DELETE FROM winery_deletion"},
	{"writer", "change the record of an image", "UPDATE winery_image SET objects = 0"},
	{"writer", "end a quarantine", "DELETE FROM winery_quarantine"},
	{"writer", "move a shard to another pool", "UPDATE shards SET pool_name = 'other'"},
	{"writer", "adopt a pool", "INSERT INTO winery_pool (name, uuid, role, host) VALUES ('mine', gen_random_uuid(), '', '')"},
	{"packer", "write to the table of a shard", "INSERT INTO shard_{writing} (key, content) VALUES ('k', 'c')"},
	{"packer", "delete from the table of a shard", "DELETE FROM shard_{writing}"},
	{"packer", "change the index", "UPDATE signature2shard SET state = 'deleted'"},
	{"packer", "make a shard", "INSERT INTO shards (name, pool_name) VALUES ('mine', 'pool')"},
	{"packer", "record that a host mapped an image", "UPDATE shards SET mapped_on_hosts_when_packed = '{mine}'"},
	{"packer", "call the function that drops a table", "SELECT winery_drop_table('{cleaning}', '{claim}', 1)"},
	{"packer", "read who deleted an object", "SELECT client FROM winery_deletion"},
	{"packer", "become the owner", "SET ROLE {owner}"},
	{"mapper", "change the state of a shard", "UPDATE shards SET state = 'full'"},
	{"mapper", "claim a shard", "UPDATE shards SET locker = gen_random_uuid()"},
	{"mapper", "end the lease of another process", "DELETE FROM winery_lease"},
	{"mapper", "mark an object deleted", "UPDATE signature2shard SET state = 'deleted'"},
	{"mapper", "claim an image", "UPDATE winery_image_lease SET expires = 'infinity'"},
	{"cleaner", "drop a table by itself", "DROP TABLE shard_{cleaning}"},
	{"cleaner", "drop the table of a shard that too few hosts have mapped", "SELECT winery_drop_table('{unmapped}', '{claim}', 0)"},
	{"cleaner", "lower the number of hosts for its session", "SET winery.min_mapped_hosts = '0'; SELECT winery_drop_table('{unmapped}', '{claim}', 0)"},
	{"cleaner", "lower the number of hosts for all", "ALTER FUNCTION winery_drop_table SET winery.min_mapped_hosts = '0'"},
	{"cleaner", "record that a host mapped an image", "UPDATE shards SET mapped_on_hosts_when_packed = '{mine}'"},
	{"cleaner", "drop the table of a shard that another process has claimed", "SELECT winery_drop_table('{cleaning}', gen_random_uuid(), 1)"},
	{"cleaner", "drop the table of a shard without a claim", "SELECT winery_drop_table('{packed}', NULL, 1)"},
	{"cleaner", "drop the table of a shard that is being written", "SELECT winery_drop_table('{writing}', '{claim}', 0)"},
	{"cleaner", "drop the table of a quarantined shard", "SELECT winery_drop_table('{quarantined}', '{claim}', 1)"},
	{"cleaner", "drop a table for an image that it did not compare", "SELECT winery_drop_adopted_table('{writing}', '{claim}')"},
	{"cleaner", "delete from the table of a shard", "DELETE FROM shard_{writing}"},
	{"operator", "drop a table by itself", "DROP TABLE shard_{packed}"},
	{"operator", "mislead a function by temporary tables", `CREATE TEMPORARY TABLE shards (id bigint, name char(32), state public.shard_state, locker uuid);
		INSERT INTO pg_temp.shards VALUES (1, '{packed}', 'writing', '00000000-0000-0000-0000-000000000001');
		SELECT winery_drop_adopted_table('{packed}', '00000000-0000-0000-0000-000000000001')`},
	{"operator", "remove the record of a deletion", "DELETE FROM winery_deletion"},
	{"operator", "create an operator that a statement would use", "CREATE FUNCTION public.mine(bytea, bytea) RETURNS boolean LANGUAGE sql AS 'SELECT true'"},
	{"status", "read the contents of objects", "SELECT FROM shard_{writing}"},
	{"status", "read who deleted an object", "SELECT client FROM winery_deletion"},
	{"status", "remove an index row", "DELETE FROM signature2shard"},
	{"status", "lock a shard", "SELECT FROM shards FOR SHARE"},
}

func TestForbiddenInTheDatabase(t *testing.T) {
	dsn := pgtest.New(t)
	base, err := sharedbase.New(dsn, "test")
	expect.NoError(t, err)
	t.Cleanup(base.Close)
	_, err = base.Init(t.Context())
	expect.NoError(t, err)
	users := dbusers.New(t, dsn, sharedbase.GrantOptions{MinMappedHosts: 1})
	names := shards(t, base)
	admin := connect(t, dsn)
	before := state(t, admin)
	for _, a := range databaseActs {
		t.Run(a.user+" must not "+a.what, func(t *testing.T) {
			statement := names(a.do)
			statement = strings.ReplaceAll(statement, "{owner}", users.Prefix+"_owner")
			proven, err := try(t, connect(t, users.DSN(a.user)), statement)
			refused := new(pgconn.PgError)
			switch {
			case err == nil && proven != nil && !*proven:
			case errors.As(err, &refused) && refused.Code == "42501":
				// With the right it would succeed, so the right is what it lacks.
				if _, err := try(t, admin, "BEGIN; "+statement); err != nil {
					t.Errorf("with all rights: %v", err)
				}
				_, _ = admin.Exec(t.Context(), "ROLLBACK")
			default:
				t.Errorf("got %v, want permission denied", err)
			}
			if after := state(t, admin); after != before {
				t.Fatalf("it changed\n%s\nto\n%s", before, after)
			}
		})
	}
}

// try executes statements, and returns what the last one selects, if that is a truth.
func try(t *testing.T, conn *pgx.Conn, statements string) (selected *bool, err error) {
	t.Helper()
	results, err := conn.PgConn().Exec(t.Context(), statements).ReadAll()
	if err != nil {
		return nil, err
	}
	if rows := results[len(results)-1].Rows; len(rows) == 1 && len(rows[0]) == 1 {
		is := string(rows[0][0]) == "t"
		return &is, nil
	}
	return nil, nil
}

// shards makes a shard in each of several states, and returns what puts their names and
// claims into a statement.
func shards(t *testing.T, base *sharedbase.SharedBase) func(string) string {
	t.Helper()
	names := []string{}
	for _, is := range []string{"writing", "packed", "cleaning", "unmapped", "quarantined"} {
		claim, err := base.CreateShard(t.Context(), "pool")
		expect.NoError(t, err)
		_, err = base.Add(t.Context(), claim, []sharedbase.Object{{ID: sharedbase.ObjID{byte(len(names))}, Content: []byte(is)}})
		expect.NoError(t, err)
		names = append(names, "{"+is+"}", claim.Name())
		if is == "writing" {
			continue
		}
		expect.NoError(t, claim.SetState(t.Context(), sharedbase.StateFull))
		claim, err = base.LockOneShard(t.Context(), sharedbase.StateFull, sharedbase.StatePacking, sharedbase.ClaimFilter{Name: claim.Name()})
		expect.NoError(t, err)
		expect.NoError(t, claim.Packed(t.Context(), sharedbase.ImageRecord{Objects: 1}))
		if is != "unmapped" {
			_, err = base.RecordShardMapped(t.Context(), "host", claim.Pool(), claim.Name())
			expect.NoError(t, err)
		}
		if is != "packed" {
			_, err = base.LockOneShard(t.Context(), sharedbase.StatePacked, sharedbase.StateCleaning, sharedbase.ClaimFilter{Name: claim.Name()})
			expect.NoError(t, err)
		}
		if is == "quarantined" {
			expect.NoError(t, base.Quarantine(t.Context(), claim.ID(), "the reason"))
		}
	}
	gone := sharedbase.Object{ID: sharedbase.ObjID{99}}
	claim, err := base.LockWritingShard(t.Context(), "pool")
	expect.NoError(t, err)
	_, err = base.Add(t.Context(), claim, []sharedbase.Object{gone})
	expect.NoError(t, err)
	expect.NoError(t, base.Delete(t.Context(), gone.ID)) // makes a record
	return func(statement string) string {
		for i := 0; i < len(names); i += 2 {
			if strings.Contains(statement, names[i]) {
				s, err := base.ShardByName(t.Context(), names[i+1])
				expect.NoError(t, err)
				statement = strings.NewReplacer(names[i], s.Name, "{claim}", s.Locker.String()).Replace(statement)
			}
		}
		return statement
	}
}

// state is all that the acts would change.
func state(t *testing.T, admin *pgx.Conn) (text string) {
	t.Helper()
	err := admin.QueryRow(t.Context(), `SELECT concat_ws(E'\n',
		(SELECT string_agg(concat_ws(' ', id, state, locker, pool_name, mapped_on_hosts_when_packed), E'\n' ORDER BY id) FROM shards),
		(SELECT string_agg(concat_ws(' ', signature, state, shard), E'\n' ORDER BY signature) FROM signature2shard),
		(SELECT string_agg(relname || ' ' || coalesce((xpath('/row/n/text()', query_to_xml('SELECT count(*) AS n FROM ' || oid::regclass, false, true, '')))[1]::text, ''), E'\n' ORDER BY relname)
			FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'))`).Scan(&text)
	expect.NoError(t, err)
	return text
}

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	expect.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// TestTableOfForbiddenActs: the document has the acts of the tests, in their order.
func TestTableOfForbiddenActs(t *testing.T) {
	text, err := os.ReadFile("../../docs/security.md")
	expect.NoError(t, err)
	_, section, found := strings.Cut(string(text), "\n## What each user cannot do\n")
	if !found {
		t.Fatal("docs/security.md has no table of forbidden acts")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	documented := strings.Join(tableRows(section), "\n")
	var want []string
	for _, a := range append(databaseActs, cephActs...) {
		want = append(want, a.row())
	}
	if tested := strings.Join(want, "\n"); documented != tested {
		t.Errorf("documented are\n%s\n\ntested are\n%s", documented, tested)
	}
}

// row is an act as a row of the document's table: who, what, and what refuses it.
func (a act) row() string {
	by := "no right"
	switch {
	case strings.Contains(a.do, "SELECT winery_") && !strings.HasPrefix(a.what, "call"):
		by = "claim not proven"
	case a.do == "":
		by = "no cap"
	}
	return "| " + a.user + " | " + a.what + " | " + by + " |"
}

func tableRows(section string) (rows []string) {
	for line := range strings.Lines(section) {
		if strings.HasPrefix(line, "| ") {
			rows = append(rows, strings.TrimSpace(line))
		}
	}
	return rows[1:] // without the head
}
