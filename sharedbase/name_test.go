// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"context"
	"regexp"
	"sync"
	"testing"
	"time"

	"winery/sharedbase"
	"winery/test/pgtest"
)

var (
	ofPGX     = regexp.MustCompile(`^(begin isolation level repeatable read|commit|rollback|savepoint|release savepoint)\b`)
	goName    = regexp.MustCompile(`^[A-Z]\w+$`)
	variables = regexp.MustCompile(`--.*|"[^"]*"|'[^']*'|\d+`) // the parts in which two texts of a statement may differ
)

// texts has the text of each statement, by name.
var texts sync.Map

// wantNames fails the test when a statement is sent that has no name, or the name of another one.
func wantNames(t testing.TB) sharedbase.Option {
	return sharedbase.WithObserver(func(s sharedbase.Statement) {
		if ofPGX.MatchString(s.SQL) {
			return
		}
		name, text := s.Name(), variables.ReplaceAllString(s.SQL, "")
		if !goName.MatchString(name) {
			t.Errorf("the name of this statement is %q, want /* winery: Name */ at its beginning: %s", name, s.SQL)
		}
		if other, found := texts.LoadOrStore(name, text); found && other != text {
			t.Errorf("two statements are named %s:\n%s\n%s", name, text, other)
		}
	})
}

func TestStatementName(t *testing.T) {
	for sql, want := range map[string]string{
		"/* winery: Locate */ SELECT": "Locate", "/* winery: Locate */\n\tSELECT": "Locate", "SELECT /* winery: Locate */": "", "commit": "",
	} {
		if got := (sharedbase.Statement{SQL: sql}).Name(); got != want {
			t.Errorf("%q has the name %q, want %q", sql, got, want)
		}
	}
}

// An operator reads in pg_stat_activity which statement waits for a lock, behind a PgBouncer too.
func TestServerShowsNames(t *testing.T) {
	dsn := pgtest.New(t)
	must(open(t, dsn).Init(t.Context()))(t)
	conn := connect(t, dsn)
	for access, with := range map[string]string{"direct": dsn, "PgBouncer": pgtest.Bouncer(t, dsn)} {
		t.Run(access, func(t *testing.T) {
			b, locked := open(t, with), object(access)
			b.SetLockWait(time.Minute)
			shardIn(t, b, sharedbase.StateStandby, locked)
			exec(t, conn, "BEGIN")
			exec(t, conn, "SELECT FROM signature2shard WHERE signature = $1 FOR UPDATE", locked.ID[:])
			deleted := background(func() error { return b.Delete(context.Background(), locked.ID) })
			blocked(t, conn, 1)
			var query string
			// conn's transaction may still see the statement before, of which only the wait event is that of now.
			err := connect(t, dsn).QueryRow(t.Context(), `SELECT query FROM pg_stat_activity
				WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&query)
			if name := (sharedbase.Statement{SQL: query}).Name(); name != "MarkDeleted" {
				t.Errorf("the server shows the name %q: %v, %s", name, err, query)
			}
			exec(t, conn, "COMMIT")
			if err := <-deleted; err != nil {
				t.Error(err)
			}
		})
	}
}
