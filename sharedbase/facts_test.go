// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"winery/sharedbase"
)

// What PostgreSQL does, as far as this package leans on it, without any of this
// package's code. That the code makes the right use of it is tested elsewhere:
//
//	fact                                                 its use
//	FOR SHARE stops the state's UPDATE                   TestAddHoldsTheShard, TestZombie, TestDeleteBeforePacking
//	an insert hides the shard from FOR UPDATE            TestClaimIsNotHiddenByInserts
//	COPY cannot skip conflicts                           TestAddOverLeftContent, TestAddLeavesWhatAnotherShardHas
//	DROP TABLE blocks readers                            TestDropTableWaitsForReaders
//	a commit that is cancelled stays (standby_test.go)   TestAddAgainWaitsForTheStandby, TestAddOfNothingNewWritesALog
//	a standby refuses with 25006 (standby_test.go)       TestFailover

// code is the SQLSTATE of an error, "" of nil.
func code(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

const notInTime = "55P03" // lock_not_available

// another connection of the test, which waits for each lock a moment only.
func another(t testing.TB, conn *pgx.Conn) *pgx.Conn {
	t.Helper()
	c := connect(t, conn.Config().ConnString())
	exec(t, c, "SET lock_timeout = '50ms'")
	return c
}

// A writer that holds its shard's row FOR SHARE keeps the state as it is. Weaker
// locks do not, not even that of a foreign key: the state is no part of a key.
func TestFactForShareStopsTheStatesUpdate(t *testing.T) {
	for name, c := range map[string]struct{ lock, want string }{
		"FOR SHARE":     {"SELECT FROM shards WHERE id = $1 FOR SHARE", notInTime},
		"FOR KEY SHARE": {"SELECT FROM shards WHERE id = $1 FOR KEY SHARE", ""},
		"foreign key":   {"INSERT INTO signature2shard VALUES ('id', 'present', $1)", ""},
	} {
		t.Run(name, func(t *testing.T) {
			b, writer := newBase(t)
			s := shardIn(t, b, sharedbase.StateStandby)
			thief := another(t, writer)
			exec(t, writer, "BEGIN")
			exec(t, writer, c.lock, s.ID)
			_, err := thief.Exec(t.Context(), "UPDATE shards SET state = 'full' WHERE id = $1", s.ID)
			if code(err) != c.want {
				t.Errorf("the UPDATE: %v, want %q", err, c.want)
			}
		})
	}
}

// An insert that is not committed yet holds a key share of the shard's row: a
// search for a shard FOR UPDATE SKIP LOCKED does not see the shard.
func TestFactInsertHidesTheShardFromForUpdate(t *testing.T) {
	b, writer := newBase(t)
	s := shardIn(t, b, sharedbase.StateFull)
	packer := another(t, writer)
	exec(t, writer, "BEGIN")
	exec(t, writer, "INSERT INTO signature2shard VALUES ('id', 'present', $1)", s.ID)
	for lock, want := range map[string]int{"FOR UPDATE": 0, "FOR NO KEY UPDATE": 1} {
		got := count(t, packer, "SELECT count(*) FROM (SELECT FROM shards WHERE state = 'full' "+lock+" SKIP LOCKED) found")
		if got != want {
			t.Errorf("%s found %d shards, want %d", lock, got, want)
		}
	}
}

// A COPY with one row that exists already stores no row; INSERT can skip the row.
func TestFactCopyCannotSkipConflicts(t *testing.T) {
	b, conn := newBase(t)
	s := shardIn(t, b, sharedbase.StateStandby, objects("there already")...)
	rows := [][]any{}
	for _, o := range objects("there already", "new") {
		rows = append(rows, []any{o.ID[:], o.Content})
	}
	table := pgx.Identifier{"shard_" + s.Name}
	_, err := conn.CopyFrom(t.Context(), table, []string{"key", "content"}, pgx.CopyFromRows(rows))
	if code(err) != "23505" { // unique_violation
		t.Errorf("COPY: %v", err)
	}
	stored := "SELECT count(*) FROM " + table.Sanitize()
	if n := count(t, conn, stored); n != 1 {
		t.Errorf("after the COPY there are %d objects", n)
	}
	for _, row := range rows {
		exec(t, conn, "INSERT INTO "+table.Sanitize()+" VALUES ($1, $2) ON CONFLICT DO NOTHING", row...)
	}
	if n := count(t, conn, stored); n != 2 {
		t.Errorf("after the INSERTs there are %d objects", n)
	}
}

// A DROP TABLE that waits for one reader blocks all later ones. A lock_timeout
// lets them continue.
func TestFactDropTableBlocksReaders(t *testing.T) {
	b, reader := newBase(t)
	s := shardIn(t, b, sharedbase.StateReadOnly)
	exec(t, reader, "CREATE TABLE shard_"+s.Name+" ()")
	read, drop := "SELECT FROM shard_"+s.Name, "DROP TABLE shard_"+s.Name
	exec(t, reader, "BEGIN")
	exec(t, reader, read)

	cleaner, late := another(t, reader), another(t, reader)
	if _, err := cleaner.Exec(t.Context(), drop); code(err) != notInTime {
		t.Fatalf("with a lock_timeout: %v", err)
	}
	exec(t, late, read)

	exec(t, cleaner, "SET lock_timeout = 0")
	ctx, cancel := context.WithCancel(t.Context())
	dropping := background(func() error { _, err := cleaner.Exec(ctx, drop); return err })
	blocked(t, reader, 1)
	if _, err := late.Exec(t.Context(), read); code(err) != notInTime {
		t.Errorf("behind a DROP without one: %v", err)
	}
	cancel()
	if err := <-dropping; err == nil {
		t.Error("the table was dropped below its readers")
	}
}
