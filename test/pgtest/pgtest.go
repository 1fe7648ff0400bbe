// SPDX-License-Identifier: GPL-3.0-or-later

// Package pgtest gives each test a PostgreSQL database of its own.
//
// The server is the one that WINERY_TEST_DSN names; its role must be allowed
// to create databases. Tests that need a server fail where there is none: a
// test that is skipped in silence proves nothing.
package pgtest

import (
	"context"
	"crypto/rand"
	"errors"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Env is the environment variable that holds the DSN of the test server, as a
// URL or as key=value pairs.
const Env = "WINERY_TEST_DSN"

// limit bounds creating and dropping a database, and the like, on a busy machine.
const limit = time.Minute

// New creates an empty database and returns its DSN. The database is dropped when
// the test ends, even if connections to it are still open.
func New(t testing.TB) string {
	t.Helper()
	return NewFor(t, t)
}

// NewFor is New for a database that is dropped when the test owner ends. What goes
// wrong now fails t, which may be a subtest of owner: a test can only be ended by its
// own goroutine.
func NewFor(t, owner testing.TB) string {
	t.Helper()
	server := os.Getenv(Env)
	if server == "" {
		t.Fatalf("%s is not set: run `make test`, or `scripts/with-services go test …`", Env)
	}
	name := "test_" + strings.ToLower(rand.Text())
	// The other strategy takes more processor time where a checkpoint does not wait for a disk.
	// No session, such as an autovacuum worker's, can be in template0.
	Exec(t, server, "CREATE DATABASE "+name+" TEMPLATE template0 STRATEGY FILE_COPY")
	owner.Cleanup(func() { drop(owner, server, name) })
	return withDatabase(t, server, name)
}

// drop drops a database. Its sessions have 5 s to end, which may be too short on a busy
// machine: then it is tried again.
func drop(t testing.TB, server, name string) {
	t.Helper()
	sql := "DROP DATABASE IF EXISTS " + name + " WITH (FORCE)"
	with(t, server, sql, func(ctx context.Context, conn *pgx.Conn) error {
		for {
			_, err := conn.Exec(ctx, sql)
			if pg, ok := errors.AsType[*pgconn.PgError](err); !ok || pg.Code != "55006" || ctx.Err() != nil {
				return err
			}
		}
	})
}

// Empty removes all that is in a database. It takes a hundredth of the time of
// making another.
func Empty(t testing.TB, dsn string) {
	t.Helper()
	Exec(t, dsn, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
}

// withDatabase names another database in a DSN; of repeated key=value pairs
// the last one counts.
func withDatabase(t testing.TB, dsn, name string) string {
	t.Helper()
	if !strings.Contains(dsn, "://") {
		return dsn + " dbname=" + name
	}
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatalf("%s is not a URL that can be parsed", Env)
	}
	u.Path = "/" + name
	return u.String()
}
