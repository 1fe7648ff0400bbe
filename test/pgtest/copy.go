// SPDX-License-Identifier: GPL-3.0-or-later

package pgtest

import (
	"crypto/rand"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Copy makes a copy of a database, as an administrator does for a staging site:
// CREATE DATABASE … TEMPLATE. Connections to the original are terminated. The
// copy is dropped when the test ends.
func Copy(t testing.TB, dsn string) string {
	t.Helper()
	original, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	name := "test_" + strings.ToLower(rand.Text())
	server := withDatabase(t, dsn, "postgres")
	Exec(t, server, "SELECT pg_terminate_backend(pid, 50000) FROM pg_stat_activity WHERE datname = '"+original.Database+"'")
	Exec(t, server, "CREATE DATABASE "+name+" TEMPLATE "+original.Database)
	t.Cleanup(func() { drop(t, server, name) })
	return withDatabase(t, dsn, name)
}
