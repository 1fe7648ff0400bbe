// SPDX-License-Identifier: GPL-3.0-or-later

package pgtest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Exec executes a statement, past the code under test.
func Exec(t testing.TB, dsn, sql string, args ...any) {
	t.Helper()
	with(t, dsn, sql, func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, sql, args...)
		return err
	})
}

// Until waits until a query answers true.
func Until(t testing.TB, dsn, sql string, args ...any) {
	t.Helper()
	with(t, dsn, sql, func(ctx context.Context, conn *pgx.Conn) error {
		for {
			var holds bool
			if err := conn.QueryRow(ctx, sql, args...).Scan(&holds); err != nil || holds {
				return err
			}
			time.Sleep(time.Millisecond)
		}
	})
}

// IdleSessionEnds begins a session, and waits until the server ends it (idle_session_timeout).
func IdleSessionEnds(t testing.TB, dsn string) {
	t.Helper()
	with(t, dsn, "an idle session", func(ctx context.Context, conn *pgx.Conn) error {
		if _, err := conn.WaitForNotification(ctx); err == nil {
			return errors.New("the server sends it a notification")
		}
		return ctx.Err()
	})
}

// Hold executes statements in a transaction, which keeps their locks until
// release is called, or the test ends; then it is rolled back.
func Hold(t testing.TB, dsn, sql string) (release func()) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatalf("the PostgreSQL server of %s does not answer: %v", Env, err)
	}
	release = sync.OnceFunc(func() {
		if _, err := conn.Exec(ctx, "ROLLBACK"); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
		_ = conn.Close(ctx)
	})
	t.Cleanup(release)
	if _, err := conn.Exec(ctx, "BEGIN; "+sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return release
}

func with(t testing.TB, dsn, sql string, do func(context.Context, *pgx.Conn) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatalf("the PostgreSQL server of %s does not answer: %v", Env, err)
	}
	defer func() { _ = conn.Close(ctx) }()
	if err := do(ctx, conn); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}
