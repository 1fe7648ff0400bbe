// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"winery/sharedbase"
	"winery/test/pgtest"
)

// Through a PgBouncer that pools by transaction a life of a shard passes, with
// more callers than the PgBouncer has connections.
func TestPooler(t *testing.T) {
	dsn := pgtest.New(t)
	behind := pgtest.Bouncer(t, dsn)
	b := open(t, behind)
	must(b.Init(t.Context()))(t)
	c := must(b.LockWritingShard(t.Context(), "pool"))(t)
	const n = 200
	results := make(chan error, n)
	for i := range n {
		go func() {
			o := object(fmt.Sprintf("object %d", i))
			_, err := b.Add(t.Context(), c, []sharedbase.Object{o})
			if err == nil {
				_, err = b.Locate(t.Context(), ids(o))
			}
			results <- err
		}()
	}
	for range n {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	s := shardIn(t, b, sharedbase.StateReadOnly, object("other"))
	must(b.RecordShardMapped(t.Context(), "host", s.Pool, s.Name))(t)
	if err := b.Listen(t.Context(), nil); !errors.Is(err, sharedbase.ErrPooled) {
		t.Errorf("Listen: %v, want ErrPooled", err)
	}
	// Nothing that was set is left to the next client.
	conn := must(pgx.Connect(t.Context(), behind+"&default_query_exec_mode=exec"))(t)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	for setting, want := range map[string]string{"synchronous_commit": "on", "lock_timeout": "0", "jit": "on"} {
		var got string
		if err := conn.QueryRow(t.Context(), "SHOW "+setting).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %q, want %q: %v", setting, got, want, err)
		}
	}
}

// A parameter of the DSN that PgBouncer refuses is named, with the cure.
func TestPoolerRefusesParameter(t *testing.T) {
	b := open(t, pgtest.Bouncer(t, pgtest.New(t))+"&lock_timeout=5000")
	err := b.CheckVersion(t.Context())
	if !errors.Is(err, sharedbase.ErrUnavailable) || !strings.Contains(err.Error(), "lock_timeout") ||
		!strings.Contains(err.Error(), "ignore_startup_parameters") {
		t.Errorf("error %v", err)
	}
}
