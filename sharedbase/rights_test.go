// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"strings"
	"testing"

	"winery/sharedbase"
	"winery/test/dbusers"
	"winery/test/expect"
	"winery/test/pgtest"
)

// TestUsersHaveTheirRights: each user has the rights of its role, and a daemon's user those of
// no other, also on the tables of shards from before and after.
func TestUsersHaveTheirRights(t *testing.T) {
	t.Parallel()
	b, dsn := initialised(t)
	must(b.CreateShard(t.Context(), sharedbase.StateWriting, "shards"))(t)
	users := dbusers.New(t, dsn, sharedbase.GrantOptions{MinMappedHosts: 1})
	must(b.CreateShard(t.Context(), sharedbase.StateWriting, "shards"))(t)
	for _, user := range sharedbase.Users {
		as := open(t, users.DSN(user))
		for _, role := range sharedbase.Users {
			missing := must(as.MissingRights(t.Context(), role))(t)
			if role == user || role == sharedbase.UserStatus {
				if len(missing) > 0 {
					t.Errorf("%s lacks %v", user, missing)
				}
			} else if len(missing) == 0 && user != sharedbase.UserOperator {
				t.Errorf("%s has all rights of %s", user, role)
			}
		}
	}
	if missing := must(b.MissingRights(t.Context(), sharedbase.UserOperator))(t); len(missing) > 0 {
		t.Errorf("the owner of the database lacks %v", missing)
	}
}

// TestMissingRights: each right that a user lost is named, one on the table of any shard too.
func TestMissingRights(t *testing.T) {
	t.Parallel()
	b, dsn := initialised(t)
	c := must(b.CreateShard(t.Context(), sharedbase.StateWriting, "shards"))(t)
	users := dbusers.New(t, dsn, sharedbase.GrantOptions{})
	as := open(t, users.DSN(sharedbase.UserWriter))
	user := users.Prefix + "_writer"
	for revoke, want := range map[string]string{
		"INSERT ON winery_deletion":                           "INSERT ON winery_deletion",
		"UPDATE (locker) ON shards":                           "UPDATE (state, locker, locker_ts) ON shards",
		"SELECT ON shard_" + c.Name():                         "SELECT, INSERT, UPDATE, DELETE ON shard_*",
		"USAGE ON SEQUENCE shards_id_seq":                     "USAGE ON shards_id_seq",
		"EXECUTE ON FUNCTION winery_create_table(text, uuid)": "EXECUTE ON winery_create_table(text, uuid)",
	} {
		pgtest.Exec(t, dsn, "REVOKE "+revoke+" FROM "+user)
		missing := must(as.MissingRights(t.Context(), sharedbase.UserWriter))(t)
		if len(missing) != 1 || missing[0] != want {
			t.Errorf("after REVOKE %s: missing are %v, want %s", revoke, missing, want)
		}
		pgtest.Exec(t, dsn, "GRANT "+revoke+" TO "+user)
	}
	pgtest.Exec(t, dsn, "DROP TABLE winery_deletion")
	if missing := must(as.MissingRights(t.Context(), sharedbase.UserWriter))(t); len(missing) != 1 || !strings.Contains(missing[0], "winery_deletion") {
		t.Errorf("without a table: missing are %v", missing)
	}
}

// initialised returns a database as its administrator uses it.
func initialised(t testing.TB) (b *sharedbase.SharedBase, dsn string) {
	t.Helper()
	dsn = pgtest.New(t)
	b = open(t, dsn)
	_, err := b.Init(t.Context())
	expect.NoError(t, err)
	return b, dsn
}
