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

// shardTables stands for the tables of all shards, and the template of new ones.
const shardTables = "shard_*"

// right is what a user must be able to do with a table, a sequence or a function.
type right struct {
	on      string   // a table, shardTables, a sequence, or a function with the types of its arguments
	do      []string // SELECT, INSERT, UPDATE, DELETE; USAGE of a sequence; EXECUTE of a function
	columns []string // to which the last of do is limited; none: it is not
}

// String is as GRANT spells it: "INSERT, UPDATE (state) ON shards".
func (r right) String() string {
	do := strings.Join(r.do, ", ")
	if len(r.columns) > 0 {
		do += " (" + strings.Join(r.columns, ", ") + ")"
	}
	return do + " ON " + r.on
}

var (
	// readable is what every user reads.
	readable = []string{
		"dbmodule", "dbversion", "shards", "signature2shard", "winery_erasure", "winery_image", "winery_image_lease", "winery_lease", "winery_pool",
		"winery_process", "winery_quarantine", "winery_state", "winery_total", "winery_verification", "winery_version",
	}
	heartbeats  = right{on: "winery_process", do: change}
	quarantines = right{on: "winery_quarantine", do: upsert}
	verifies    = right{on: "winery_verification", do: upsert}
	readsTables = right{on: shardTables, do: []string{"SELECT"}}
	// claims are the rights to claim, release and reclaim shards, and to renew leases.
	claims = []right{
		{on: "shards", do: []string{"UPDATE"}, columns: []string{"state", "locker", "locker_ts"}},
		{on: "winery_lease", do: change},
		{on: "winery_total", do: change},
		{on: "winery_image_lease", do: []string{"UPDATE"}, columns: []string{"expires"}},
	}

	change = []string{"INSERT", "UPDATE", "DELETE"}
	upsert = []string{"INSERT", "UPDATE"}
	locks  = []string{"UPDATE"} // of a column: PostgreSQL asks for it where a row is locked
)

// rightsOf returns all that a user needs, and no more: `wineryctl db grants` grants it, and MissingRights compares.
// No user has a right to create or drop a table: two functions do it, which prove the claim to the shard.
func rightsOf(user string) (rights []right) {
	for _, table := range readable {
		rights = append(rights, right{on: table, do: []string{"SELECT"}})
	}
	rights = append(rights, right{on: "winery_deletion", do: []string{"SELECT"}, columns: []string{"at", "signature", "shard"}}) // not who
	switch user {
	case UserWriter:
		rights = append(append(rights, heartbeats), claims...)
		rights = append(rights,
			right{on: "shards", do: []string{"INSERT"}},
			right{on: "shards_id_seq", do: []string{"USAGE"}},
			right{on: "signature2shard", do: upsert, columns: []string{"shard", "state"}},
			right{on: "winery_deletion", do: []string{"INSERT"}},
			right{on: shardTables, do: append([]string{"SELECT"}, change...)},
			right{on: createFunction, do: []string{"EXECUTE"}})
	case UserPacker:
		rights = append(append(rights, heartbeats, quarantines, verifies, readsTables), claims...)
		rights = append(rights, right{on: "winery_image", do: upsert}, right{on: "winery_pool", do: upsert})
	case UserMapper:
		rights = append(rights, heartbeats, quarantines, verifies, readsTables,
			right{on: "shards", do: locks, columns: []string{"mapped_on_hosts_when_packed"}})
	case UserCleaner:
		rights = append(append(rights, heartbeats, quarantines, verifies, readsTables), claims...)
		rights = append(rights,
			right{on: "signature2shard", do: []string{"DELETE"}},
			right{on: "signature2shard", do: locks, columns: []string{"state"}},
			right{on: "winery_erasure", do: []string{"DELETE"}},
			right{on: "winery_image_lease", do: change},
			right{on: "winery_pool", do: upsert},
			right{on: dropFunction, do: []string{"EXECUTE"}})
	case UserOperator:
		rights = append(rights, right{on: "winery_deletion", do: []string{"SELECT"}}) // the records stay as they are
		for _, table := range []string{
			"signature2shard", "winery_erasure", "winery_image", "winery_image_lease", "winery_lease", "winery_pool", "winery_process", "winery_quarantine",
			"winery_total", "winery_verification",
		} {
			rights = append(rights, right{on: table, do: change})
		}
		rights = append(rights,
			right{on: "shards", do: upsert},
			right{on: "shards_id_seq", do: []string{"USAGE"}},
			right{on: shardTables, do: append([]string{"SELECT"}, change...)},
			right{on: createFunction, do: []string{"EXECUTE"}},
			right{on: dropAdoptedFunction, do: []string{"EXECUTE"}})
	}
	return rights
}

// MissingRights returns the rights that a user needs and that the user of this
// connection lacks, each as GRANT spells it. A right on a table that does not exist is missing.
func (b *SharedBase) MissingRights(ctx context.Context, user string) (missing []string, err error) {
	var wanted, on, do, columns []string
	for _, r := range rightsOf(user) {
		for i, privilege := range r.do {
			limited := r.columns
			if i < len(r.do)-1 || len(limited) == 0 {
				limited = []string{""}
			}
			for _, column := range limited {
				wanted, on, do, columns = append(wanted, r.String()), append(on, r.on), append(do, privilege), append(columns, column)
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
			ELSE has_table_privilege(to_regclass(target), privilege) END, false)`, wanted, on, do, columns, shardTables)
	slices.Sort(missing)
	return slices.Compact(missing), err
}

// grantsCure says how a right is granted.
const grantsCure = "run `wineryctl db grants` (`wineryctl doctor` shows it with its flags)"

// rightNeeded names the rights of a role's user on what a refusal of the server names:
// "" where it names nothing that the user needs.
func rightNeeded(role, refusal string) string {
	user := role
	switch role {
	case "wineryctl":
		user = UserOperator
	case "reader": // a winery-writer that is read-only
		user = UserWriter
	}
	if strings.HasPrefix(refusal, "must be owner of") {
		return "the owner of Winery's tables must own it: " + grantsCure
	}
	var needed []string
	longest := ""
	for _, r := range rightsOf(user) {
		name, _, _ := strings.Cut(strings.TrimSuffix(r.on, "*"), "(")
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
	return fmt.Sprintf("the database user of %s needs %s: %s", role, strings.Join(needed, "; "), grantsCure)
}
