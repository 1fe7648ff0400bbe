// SPDX-License-Identifier: GPL-3.0-or-later

package roletest

import (
	"regexp"
	"strings"
)

// statements names those of sharedbase for people, by what only they contain;
// the first one that fits. Renewals come when they come: they have no name.
var statements = []struct {
	part string
	name Point
}{
	{"UPDATE winery_lease", ""},
	{"SELECT id FROM shards WHERE locker = ANY", ""},
	{"BEGIN", "begin"},
	{"begin", "begin"},
	{"commit", "commit"},
	{"rollback", "rollback"},
	{"locked AS (UPDATE shards", "lock shard"},
	{"locked AS (INSERT INTO shards", "make shard"},
	{"CREATE TABLE IF NOT EXISTS", "make table"},
	{"claim AS (", "add objects"},
	{"moved AS (UPDATE shards", "move shard"},
	{"INSERT INTO winery_image_lease", "claim image"},
	{"DELETE FROM winery_image_lease", "release image"},
	{"FROM winery_image_lease l JOIN", "prove image claim"},
	{"SELECT reason, role", "look for quarantine"},
	{"WHERE name = $1 FOR NO KEY UPDATE", "lock shard row"},
	{"INSERT INTO winery_image", "record image"},
	{"FROM winery_image", "read record"},
	{"sum(octet_length(content))", "measure table"},
	{"AND expires > clock_timestamp()", "prove claim"},
	{"SELECT EXISTS (SELECT FROM shards WHERE id = $1 AND locker", "check claim"},
	{"COPY (SELECT key", "stream table"},
	{"substring(content", "read slice"},
	{"DROP TABLE", "drop table"},
	{"SET mapped_on_hosts_when_packed", "record host"},
	{"count(*) FROM signature2shard", "count objects"},
	{"SELECT content FROM", "read content"},
	{"SELECT FROM signature2shard WHERE shard = s.id", "list shards with deletions"},
	{"SELECT signature FROM signature2shard", "list deletions"},
	{"pg_logical_emit_message", "settle"},
	{"ORDER BY signature FOR UPDATE", "lock marks"},
	{"DELETE FROM signature2shard", "remove marks"},
	{"'readonly', $2", "make readonly shard"},
	{"CREATE TEMPORARY TABLE", "make key table"},
	{`COPY "pg_temp"`, "copy keys"},
	{"FROM pg_temp.winery_import", "add keys"},
	{"FROM shards s", "list shards"},
}

var tableName = regexp.MustCompile(`"?shard_\w{32}"?`)

// nameOf names a statement; others than the above by how they begin.
func nameOf(sql string) Point {
	for _, s := range statements {
		if strings.Contains(sql, s.part) {
			return s.name
		}
	}
	words := strings.Join(strings.Fields(tableName.ReplaceAllString(sql, "shard")), " ")
	return Point(words[:min(len(words), 40)])
}
