// SPDX-License-Identifier: GPL-3.0-or-later

package pgtest

import (
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
)

// SameSchema fails the test unless the two databases have the same types,
// columns, defaults, constraints, indexes, sequences, settings of tables and
// version. The tables of single shards come and go, and make no difference; nor
// does what is named winery_, which Python does not know.
func SameSchema(t testing.TB, gotDSN, wantDSN string) {
	t.Helper()
	got, want := describe(t, gotDSN), describe(t, wantDSN)
	for _, line := range got {
		if !slices.Contains(want, line) {
			t.Errorf("more than expected: %s", line)
		}
	}
	for _, line := range want {
		if !slices.Contains(got, line) {
			t.Errorf("missing: %s", line)
		}
	}
	if len(want) < 40 {
		t.Errorf("only %d lines were compared", len(want))
	}
}

// describe gives a line for each thing in a database.
func describe(t testing.TB, dsn string) []string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	rows, err := conn.Query(t.Context(), catalog)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// catalog lists what both languages must agree on. How contents are compressed is each database's own matter.
const catalog = `
	WITH mine AS (SELECT * FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname !~ '^(shard_i[0-9a-f]{31}|winery_)')
	SELECT concat_ws(' ', 'relation', relname, relkind, relpersistence, reloptions::text) FROM mine
	UNION ALL SELECT concat_ws(' ', 'column', relname, attnum, attname, format_type(atttypid, atttypmod), attnotnull,
			attstorage, pg_get_expr(adbin, adrelid))
		FROM pg_attribute a JOIN mine ON mine.oid = attrelid LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum WHERE attnum > 0
	UNION ALL SELECT concat_ws(' ', 'constraint', relname, conname, pg_get_constraintdef(c.oid)) FROM pg_constraint c JOIN mine ON mine.oid = conrelid
	UNION ALL SELECT 'index ' || pg_get_indexdef(oid) FROM mine WHERE relkind = 'i'
	UNION ALL SELECT concat_ws(' ', 'sequence', sequencename, data_type, start_value, increment_by, cycle, cache_size) FROM pg_sequences
	UNION ALL SELECT concat_ws(' ', 'enum', typname, string_agg(enumlabel, ',' ORDER BY enumsortorder))
		FROM pg_enum JOIN pg_type t ON t.oid = enumtypid GROUP BY typname
	UNION ALL SELECT 'function ' || proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND proname !~ '^winery_'
	UNION ALL SELECT 'extension ' || extname FROM pg_extension
	UNION ALL SELECT 'module ' || dbmodule FROM dbmodule
	UNION ALL (SELECT concat_ws(' ', 'version', version, release IS NOT NULL, description IS NOT NULL)
		FROM dbversion ORDER BY version DESC LIMIT 1)
	ORDER BY 1`
