// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// The users of the database, by the roles of Winery: see docs/adr/0013.
const (
	UserWriter   = "writer"
	UserPacker   = "packer"
	UserMapper   = "mapper"
	UserCleaner  = "cleaner"
	UserOperator = "operator" // of the commands of wineryctl
	UserStatus   = "status"   // reads all but the contents of objects and who deleted one
)

// Users are all of them.
var Users = []string{UserWriter, UserPacker, UserMapper, UserCleaner, UserOperator, UserStatus}

// ShardTables stands for the tables of all shards, and the template of new ones.
const ShardTables = "shard_*"

// Right is what a user must be able to do with a table, a sequence or a function.
type Right struct {
	On      string   // a table, ShardTables, a sequence, or a function with the types of its arguments
	Do      []string // SELECT, INSERT, UPDATE, DELETE; USAGE of a sequence; EXECUTE of a function
	Columns []string // to which the last of Do is limited; none: it is not
}

// String is as GRANT spells it: "INSERT, UPDATE (state) ON shards".
func (r Right) String() string {
	do := strings.Join(r.Do, ", ")
	if len(r.Columns) > 0 {
		do += " (" + strings.Join(r.Columns, ", ") + ")"
	}
	return do + " ON " + r.On
}

var (
	// readable is what every user reads.
	readable = []string{
		"dbmodule", "dbversion", "shards", "signature2shard", "winery_erasure", "winery_image", "winery_image_lease", "winery_lease", "winery_pool",
		"winery_process", "winery_quarantine", "winery_state", "winery_total", "winery_verification", "winery_version",
	}
	heartbeats  = Right{On: "winery_process", Do: change}
	quarantines = Right{On: "winery_quarantine", Do: upsert}
	verifies    = Right{On: "winery_verification", Do: upsert}
	readsTables = Right{On: ShardTables, Do: []string{"SELECT"}}
	// claims are the rights to claim, release and reclaim shards, and to renew leases.
	claims = []Right{
		{On: "shards", Do: []string{"UPDATE"}, Columns: []string{"state", "locker", "locker_ts"}},
		{On: "winery_lease", Do: change},
		{On: "winery_total", Do: change},
		{On: "winery_image_lease", Do: []string{"UPDATE"}, Columns: []string{"expires"}},
	}

	change = []string{"INSERT", "UPDATE", "DELETE"}
	upsert = []string{"INSERT", "UPDATE"}
	locks  = []string{"UPDATE"} // of a column: PostgreSQL asks for it where a row is locked
)

// RightsOf returns all that a user needs, and no more: `wineryctl db grants` grants it, and MissingRights compares.
// No user has a right to create or drop a table: two functions do it, which prove the claim to the shard.
func RightsOf(user string) (rights []Right) {
	for _, table := range readable {
		rights = append(rights, Right{On: table, Do: []string{"SELECT"}})
	}
	rights = append(rights, Right{On: "winery_deletion", Do: []string{"SELECT"}, Columns: []string{"at", "signature", "shard"}}) // not who
	switch user {
	case UserWriter:
		rights = append(append(rights, heartbeats), claims...)
		rights = append(rights,
			Right{On: "shards", Do: []string{"INSERT"}},
			Right{On: "shards_id_seq", Do: []string{"USAGE"}},
			Right{On: "signature2shard", Do: upsert, Columns: []string{"shard", "state"}},
			Right{On: "winery_deletion", Do: []string{"INSERT"}},
			Right{On: ShardTables, Do: append([]string{"SELECT"}, change...)},
			Right{On: createFunction, Do: []string{"EXECUTE"}})
	case UserPacker:
		rights = append(append(rights, heartbeats, quarantines, verifies, readsTables), claims...)
		rights = append(rights, Right{On: "winery_image", Do: upsert}, Right{On: "winery_pool", Do: upsert})
	case UserMapper:
		rights = append(rights, heartbeats, quarantines, verifies, readsTables,
			Right{On: "shards", Do: locks, Columns: []string{"mapped_on_hosts_when_packed"}})
	case UserCleaner:
		rights = append(append(rights, heartbeats, quarantines, verifies, readsTables), claims...)
		rights = append(rights,
			Right{On: "signature2shard", Do: []string{"DELETE"}},
			Right{On: "signature2shard", Do: locks, Columns: []string{"state"}},
			Right{On: "winery_erasure", Do: []string{"DELETE"}},
			Right{On: "winery_image_lease", Do: change},
			Right{On: "winery_pool", Do: upsert},
			Right{On: dropFunction, Do: []string{"EXECUTE"}})
	case UserOperator:
		rights = append(rights, Right{On: "winery_deletion", Do: []string{"SELECT"}}) // the records stay as they are
		for _, table := range []string{
			"signature2shard", "winery_erasure", "winery_image", "winery_image_lease", "winery_lease", "winery_pool", "winery_process", "winery_quarantine",
			"winery_total", "winery_verification",
		} {
			rights = append(rights, Right{On: table, Do: change})
		}
		rights = append(rights,
			Right{On: "shards", Do: upsert},
			Right{On: "shards_id_seq", Do: []string{"USAGE"}},
			Right{On: ShardTables, Do: append([]string{"SELECT"}, change...)},
			Right{On: createFunction, Do: []string{"EXECUTE"}},
			Right{On: dropAdoptedFunction, Do: []string{"EXECUTE"}})
	}
	return rights
}

// MissingRights returns the rights of RightsOf(user) that the user of this
// connection lacks, each as GRANT spells it. A right on a table that does not exist is missing.
func (b *SharedBase) MissingRights(ctx context.Context, user string) (missing []string, err error) {
	var wanted, on, do, columns []string
	for _, r := range RightsOf(user) {
		for i, privilege := range r.Do {
			limited := r.Columns
			if i < len(r.Do)-1 || len(limited) == 0 {
				limited = []string{""}
			}
			for _, column := range limited {
				wanted, on, do, columns = append(wanted, r.String()), append(on, r.On), append(do, privilege), append(columns, column)
			}
		}
	}
	missing, err = list(ctx, b, b.conns.rest, "reading the rights of the database user", pgx.RowTo[string], `/* winery: MissingRights */
		SELECT wanted FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS r (wanted, target, privilege, col)
		WHERE NOT coalesce(CASE
			WHEN target = $5 THEN (SELECT bool_and(has_table_privilege(c.oid, privilege)) FROM pg_class c
				WHERE relkind = 'r' AND relname LIKE 'shard\_%'
					AND relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'shards'::regclass))
			WHEN target LIKE '%(%' THEN has_function_privilege(to_regprocedure(target), privilege)
			WHEN target LIKE '%\_seq' THEN has_sequence_privilege(to_regclass(target), privilege)
			WHEN col <> '' THEN has_column_privilege(to_regclass(target), col, privilege)
			ELSE has_table_privilege(to_regclass(target), privilege) END, false)`, wanted, on, do, columns, ShardTables)
	slices.Sort(missing)
	return slices.Compact(missing), err
}

// rightNeeded names the rights of a role's user on what a refusal of the server names:
// "" where it names nothing that the user needs.
func rightNeeded(role, refusal string) string {
	user := role
	if role == "wineryctl" {
		user = UserOperator
	}
	if strings.HasPrefix(refusal, "must be owner of") {
		return "the owner of Winery's tables must own it: run `wineryctl db grants`"
	}
	var needed []string
	longest := ""
	for _, r := range RightsOf(user) {
		name, _, _ := strings.Cut(strings.TrimSuffix(r.On, "*"), "(")
		if !strings.Contains(refusal, " "+name) || len(name) < len(longest) {
			continue
		}
		if name != longest {
			longest, needed = name, nil
		}
		needed = append(needed, r.String())
	}
	if needed == nil {
		return ""
	}
	return fmt.Sprintf("the database user of %s needs %s: run `wineryctl db grants`", role, strings.Join(needed, "; "))
}
