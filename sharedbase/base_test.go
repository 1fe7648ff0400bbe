// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/pgtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newBase returns an initialised database, and a plain connection to it that acts
// as other processes.
func newBase(t testing.TB) (*sharedbase.SharedBase, *pgx.Conn) {
	t.Helper()
	dsn := pgtest.New(t)
	b := open(t, dsn)
	if _, err := b.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b, connect(t, dsn)
}

// open opens a database, and fails the test if a statement without a name is sent to it.
func open(t testing.TB, dsn string, options ...sharedbase.Option) *sharedbase.SharedBase {
	t.Helper()
	b := must(sharedbase.New(dsn, "winery test", append(options, wantNames(t))...))(t)
	t.Cleanup(b.Close)
	return b
}

func connect(t testing.TB, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func object(content string) sharedbase.Object {
	return sharedbase.Object{ID: sha256.Sum256([]byte(content)), Content: []byte(content)}
}

func objects(contents ...string) []sharedbase.Object {
	all := make([]sharedbase.Object, len(contents))
	for i, c := range contents {
		all[i] = object(c)
	}
	return all
}

func ids(objects ...sharedbase.Object) []sharedbase.ObjID {
	all := make([]sharedbase.ObjID, len(objects))
	for i, o := range objects {
		all[i] = o.ID
	}
	return all
}

// must returns v, or ends the test.
func must[T any](v T, err error) func(t testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// waiting tells when the transactions began that wait for a lock.
func waiting(t testing.TB, conn *pgx.Conn) []time.Time {
	t.Helper()
	exec(t, conn, "SELECT pg_stat_clear_snapshot()") // or a transaction sees always the same
	rows, err := conn.Query(t.Context(), `SELECT xact_start FROM pg_stat_activity
		WHERE datname = current_database() AND wait_event_type = 'Lock' AND xact_start IS NOT NULL`)
	if err != nil {
		t.Fatal(err)
	}
	return must(pgx.CollectRows(rows, pgx.RowTo[time.Time]))(t)
}

// blocked waits until n transactions wait for a lock.
func blocked(t testing.TB, conn *pgx.Conn, n int) {
	t.Helper()
	expect.Eventually(t, "transactions to wait for a lock", func() bool { return len(waiting(t, conn)) == n })
}

func count(t testing.TB, conn *pgx.Conn, sql string, args ...any) (n int) {
	t.Helper()
	if err := conn.QueryRow(context.Background(), sql, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func exec(t testing.TB, conn *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := conn.Exec(context.Background(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

// background runs f and returns where its result will come.
func background[T any](f func() T) <-chan T {
	result := make(chan T, 1)
	go func() { result <- f() }()
	return result
}

// shardIn returns a shard of pool "pool" that holds the objects and is in a
// state that is not locked.
func shardIn(t testing.TB, b *sharedbase.SharedBase, state sharedbase.ShardState, objects ...sharedbase.Object) sharedbase.Shard {
	t.Helper()
	ctx := t.Context()
	c := must(b.CreateShard(ctx, "pool"))(t)
	must(b.Add(ctx, c, objects))(t)
	steps := []sharedbase.ShardState{sharedbase.StateFull, sharedbase.StatePacking, sharedbase.StatePacked, sharedbase.StateCleaning}
	for i := 0; c.State() != state; i++ {
		var err error
		switch {
		case state == sharedbase.StateStandby:
			err = c.SetState(ctx, state)
		case c.State() == sharedbase.StateCleaning:
			err = c.DropTable(ctx)
		case steps[i].Locked():
			c, err = b.LockOneShard(ctx, c.State(), steps[i], sharedbase.ClaimFilter{Name: c.Name()})
		default:
			err = c.SetState(ctx, steps[i])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return must(b.ShardByID(ctx, c.ID()))(t)
}

// claim locks a shard.
func claim(t testing.TB, b *sharedbase.SharedBase, s sharedbase.Shard, to sharedbase.ShardState) *sharedbase.Claim {
	t.Helper()
	c := must(b.LockOneShard(t.Context(), s.State, to, sharedbase.ClaimFilter{Name: s.Name}))(t)
	if c == nil {
		t.Fatalf("shard %s is not to be had", s.Name)
	}
	return c
}

// wantState fails unless err is a *StateError that found the given state.
func wantState(t testing.TB, err error, found sharedbase.ShardState) {
	t.Helper()
	var wrong *sharedbase.StateError
	if !errors.As(err, &wrong) || wrong.Found != found {
		t.Errorf("error %v, want a StateError that found %q", err, found)
	}
}

// absent fails unless no shard has the object.
func absent(t testing.TB, b *sharedbase.SharedBase, o sharedbase.Object) {
	t.Helper()
	if l := must(b.Locate(t.Context(), ids(o)))(t); l[0].ShardID != 0 {
		t.Errorf("object %x is in %+v", o.ID, l[0])
	}
}

// contents are those of objects in a shard's table, nil for what it does not have.
func contents(t testing.TB, b *sharedbase.SharedBase, shard string, ids []sharedbase.ObjID) [][]byte {
	t.Helper()
	all := make([][]byte, len(ids))
	for i, c := range must(b.Content(t.Context(), shard, ids, math.MaxInt64))(t) {
		all[i] = c.Bytes
	}
	return all
}

// present fails unless the object is in the shard, and readable.
func present(t testing.TB, b *sharedbase.SharedBase, shard string, o sharedbase.Object) {
	t.Helper()
	if l := must(b.Locate(t.Context(), ids(o)))(t); l[0].Shard != shard {
		t.Errorf("object %x is in %+v, want it in %s", o.ID, l[0], shard)
	}
	if c := contents(t, b, shard, ids(o)); string(c[0]) != string(o.Content) {
		t.Errorf("object %x has content %q, want %q", o.ID, c[0], o.Content)
	}
}
