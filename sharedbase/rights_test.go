// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"context"
	"errors"
	"slices"
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
	must(b.CreateShard(t.Context(), "shards"))(t)
	users := dbusers.New(t, dsn, sharedbase.GrantOptions{MinMappedHosts: 1})
	must(b.CreateShard(t.Context(), "shards"))(t)
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

// TestEveryUserReads: each user can read what metrics, status and doctor need.
func TestEveryUserReads(t *testing.T) {
	t.Parallel()
	b, dsn := initialised(t)
	shardIn(t, b, sharedbase.StatePacked, object("packed"))
	expect.NoError(t, b.Delete(t.Context(), object("packed").ID))
	users := dbusers.New(t, dsn, sharedbase.GrantOptions{})
	for _, user := range sharedbase.Users {
		as, ctx := open(t, users.DSN(user)), t.Context()
		for what, read := range map[string]func() error{
			"CheckAttached":     func() error { return as.CheckAttached(ctx) },
			"Hosts":             func() error { _, err := as.Hosts(ctx); return err },
			"ID":                func() error { _, err := as.ID(ctx); return err },
			"ImageLeases":       func() error { _, err := as.ImageLeases(ctx); return err },
			"InStateSince":      func() error { _, err := as.InStateSince(ctx, 1); return err },
			"Leases":            func() error { _, err := as.Leases(ctx); return err },
			"ListShards":        func() error { _, err := as.ListShards(ctx, sharedbase.ShardFilter{}); return err },
			"LockedShards":      func() error { _, err := as.LockedShards(ctx); return err },
			"ObjectStatuses":    func() error { _, err := as.ObjectStatuses(ctx, 1, ids(object("packed"))); return err },
			"OrphanTables":      func() error { _, err := as.OrphanTables(ctx); return err },
			"PackedFor":         func() error { _, err := as.PackedFor(ctx, 0); return err },
			"PoolRecords":       func() error { _, err := as.PoolRecords(ctx); return err },
			"Processes":         func() error { _, err := as.Processes(ctx); return err },
			"QuarantinedShards": func() error { _, err := as.QuarantinedShards(ctx); return err },
			"Statistics":        func() error { _, err := as.Statistics(ctx); return err },
			"Unerased":          func() error { _, err := as.Unerased(ctx); return err },
			"UnsafeSettings":    func() error { _, err := as.UnsafeSettings(ctx); return err },
			"Verifications":     func() error { _, err := as.Verifications(ctx); return err },
		} {
			if err := read(); err != nil {
				t.Errorf("%s, as %s: %v", what, user, err)
			}
		}
	}
}

// TestGrantsAgain: the script changes nothing a second time, and revokes what is too much.
func TestGrantsAgain(t *testing.T) {
	t.Parallel()
	b, dsn := initialised(t)
	must(b.CreateShard(t.Context(), "shards"))(t)
	users := dbusers.New(t, dsn, sharedbase.GrantOptions{})
	conn := connect(t, dsn)
	rights := func() (text string) {
		expect.NoError(t, conn.QueryRow(t.Context(), `SELECT string_agg(concat_ws(' ', relname, relowner::regrole, relacl,
			(SELECT string_agg(attname || attacl::text, ' ' ORDER BY attname) FROM pg_attribute WHERE attrelid = c.oid)), E'\n' ORDER BY relname)
			FROM pg_class c WHERE relnamespace = 'public'::regnamespace`).Scan(&text))
		return text
	}
	granted := rights()
	exec(t, conn, "GRANT DELETE ON signature2shard TO "+users.Prefix+"_writer; GRANT UPDATE (state) ON shards TO "+users.Prefix+"_mapper")
	must(dbusers.Make(t.Context(), dsn, sharedbase.GrantOptions{Prefix: users.Prefix}))(t)
	if again := rights(); again != granted {
		t.Errorf("the rights were\n%s\nand are\n%s", granted, again)
	}
}

// TestMissingRights: each right that a user lost is named, one on the table of any shard too.
func TestMissingRights(t *testing.T) {
	t.Parallel()
	b, dsn := initialised(t)
	c := must(b.CreateShard(t.Context(), "shards"))(t)
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
	if missing := must(as.MissingRights(t.Context(), sharedbase.UserWriter))(t); !slices.Equal(missing, []string{"INSERT ON winery_deletion", "SELECT (at, signature, shard) ON winery_deletion"}) {
		t.Errorf("without a table: missing are %v", missing)
	}
}

// TestMissingRightIsNamed: where the user of a role lacks a right that the role needs, the
// error names the right and the cure.
func TestMissingRightIsNamed(t *testing.T) {
	t.Parallel()
	b, dsn := initialised(t)
	users := dbusers.New(t, dsn, sharedbase.GrantOptions{})
	kept := shardIn(t, b, sharedbase.StateStandby, object("kept"))
	full := shardIn(t, b, sharedbase.StateFull)
	packed := shardIn(t, b, sharedbase.StatePacked)
	expect.NoError(t, b.Quarantine(t.Context(), kept.ID, "the reason"))
	for _, tt := range []struct {
		role, user, revoked string // the right, as PostgreSQL spells it
		try                 func(*sharedbase.SharedBase) error
		named               string
	}{
		{
			"writer", sharedbase.UserWriter, "EXECUTE ON FUNCTION winery_create_table(text, uuid)",
			func(b *sharedbase.SharedBase) error {
				_, err := b.CreateShard(t.Context(), "pool")
				return err
			}, "EXECUTE ON winery_create_table(text, uuid)",
		},
		{
			"writer", sharedbase.UserWriter, "INSERT ON winery_deletion",
			func(b *sharedbase.SharedBase) error { return b.Delete(t.Context(), object("kept").ID) }, "INSERT ON winery_deletion",
		},
		{
			"packer", sharedbase.UserPacker, "INSERT ON winery_verification",
			func(b *sharedbase.SharedBase) error {
				return claim(t, b, full, sharedbase.StatePacking).Packed(t.Context(), sharedbase.ImageRecord{})
			}, "INSERT, UPDATE ON winery_verification",
		},
		{
			"mapper", sharedbase.UserMapper, "UPDATE (mapped_on_hosts_when_packed) ON shards",
			func(b *sharedbase.SharedBase) error {
				_, err := b.RecordShardMapped(t.Context(), "host", packed.Pool, packed.Name)
				return err
			}, "UPDATE (mapped_on_hosts_when_packed) ON shards",
		},
		{
			"cleaner", sharedbase.UserCleaner, "EXECUTE ON FUNCTION winery_drop_table(text, uuid, integer)",
			func(b *sharedbase.SharedBase) error {
				return claim(t, b, packed, sharedbase.StateCleaning).DropTable(t.Context())
			}, "EXECUTE ON winery_drop_table(text, uuid, integer)",
		},
		{
			"wineryctl", sharedbase.UserOperator, "DELETE ON winery_quarantine",
			func(b *sharedbase.SharedBase) error { return b.Unquarantine(t.Context(), kept.Name) }, "INSERT, UPDATE, DELETE ON winery_quarantine",
		},
	} {
		pgtest.Exec(t, dsn, "REVOKE "+tt.revoked+" FROM "+users.Prefix+"_"+tt.user)
		err := tt.try(open(t, users.DSN(tt.user), sharedbase.WithHolder(tt.role, "test")))
		if !errors.Is(err, sharedbase.ErrNotAllowed) || !errors.Is(err, sharedbase.ErrUnavailable) {
			t.Errorf("%s without %s: got %v, want ErrNotAllowed", tt.role, tt.revoked, err)
			continue
		}
		for _, want := range []string{"the database user of " + tt.role + " needs ", tt.named, "wineryctl db grants"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("the error does not say %q: %v", want, err)
			}
		}
	}
}

// TestGrantsKeepsTheOwner: the user that all roles have until now, who owns the tables, keeps
// all rights, or nothing is changed.
func TestGrantsKeepsTheOwner(t *testing.T) {
	t.Parallel()
	dsn := detached(t)
	owner, name := owning(t, dsn)
	b := open(t, owner)
	expect.NoError(t, b.Attach(t.Context()))
	o := sharedbase.GrantOptions{Prefix: "p" + strings.TrimPrefix(name, "stranger_test_")}
	users, err := dbusers.Make(t.Context(), dsn, o)
	t.Cleanup(func() { expect.NoError(t, users.Drop(context.Background())) })
	if err == nil || !strings.Contains(err.Error(), "nothing was changed") || !strings.Contains(err.Error(), "--also "+name) {
		t.Errorf("the owner loses all rights: %v", err)
	}
	wantOwner(t, dsn, name)
	must(b.LockWritingShard(t.Context(), "pool"))(t)
}

// TestTableOfAnother: the error says what to do where another user than the owner of
// Winery's tables made one.
func TestTableOfAnother(t *testing.T) {
	t.Parallel()
	b, dsn := initialised(t)
	s := shardIn(t, b, sharedbase.StatePacked)
	users := dbusers.New(t, dsn, sharedbase.GrantOptions{})
	pgtest.Exec(t, dsn, "ALTER TABLE shard_"+s.Name+" OWNER TO CURRENT_USER")
	cleaner := open(t, users.DSN(sharedbase.UserCleaner), sharedbase.WithHolder("cleaner", "test"))
	err := claim(t, cleaner, s, sharedbase.StateCleaning).DropTable(t.Context())
	if !errors.Is(err, sharedbase.ErrNotAllowed) || !strings.Contains(err.Error(), "must own it: run `wineryctl db grants`") {
		t.Errorf("dropped another's table: %v", err)
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
