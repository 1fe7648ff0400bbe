// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"context"
	"crypto/sha256"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"winery/internal/testpg"
	"winery/sharedbase"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newBase returns an initialised database, and a plain connection to it that
// plays everybody else.
func newBase(t testing.TB) (*sharedbase.SharedBase, *pgx.Conn) {
	t.Helper()
	dsn := testpg.New(t)
	b := open(t, dsn)
	if _, err := b.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b, connect(t, dsn)
}

func open(t testing.TB, dsn string) *sharedbase.SharedBase {
	t.Helper()
	b, err := sharedbase.New(dsn, "winery test")
	if err != nil {
		t.Fatal(err)
	}
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
