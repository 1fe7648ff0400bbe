// SPDX-License-Identifier: GPL-3.0-or-later

package cleaner_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"winery/internal/cleaner"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/harness/relay"
	"winery/test/roletest"
)

// TestOutage: once the database is unavailable, or the context has ended, no other
// shard is tried.
func TestOutage(t *testing.T) {
	ends := map[string]func(*relay.Relay, context.CancelFunc){
		"the database is unavailable": func(r *relay.Relay, _ context.CancelFunc) { r.Cut() },
		"the context has ended":       func(_ *relay.Relay, stop context.CancelFunc) { stop() },
	}
	for _, test := range []struct {
		what     string
		work     func(*cleaner.Cleaner, context.Context) error
		maxTried int // shards
	}{
		{"dropping the table of shard", func(c *cleaner.Cleaner, ctx context.Context) error { _, err := c.DropTables(ctx); return err }, 1},
		{"erasing deleted objects of shard", func(c *cleaner.Cleaner, ctx context.Context) error { _, err := c.EraseDeleted(ctx); return err }, 4},
	} {
		for when, end := range ends {
			t.Run(test.what+", "+when, func(t *testing.T) {
				t.Parallel()
				s := roletest.New(t, roletest.Directory(t, ""))
				for i := range uint64(6) {
					objects := roletest.Objects(i, 3, 1000)[1:]
					packed(t, s, objects)
					expect.NoError(t, s.Base.Delete(t.Context(), objects[0].ID))
				}
				r, dsn, err := relay.Database(s.DSN)
				expect.NoError(t, err)
				t.Cleanup(r.Close)
				base, err := sharedbase.New(dsn, "cleaner behind a relay")
				expect.NoError(t, err)
				t.Cleanup(base.Close)
				ctx, stop := context.WithCancel(t.Context())
				s.Pool.At = func(p roletest.Point, _ string) error {
					if p == roletest.Open {
						end(r, stop)
					}
					return nil
				}
				err = test.work(cleaner.New(cleaner.Options{Base: base, Pools: s.Pools, Log: s.Log}), ctx)
				if n := strings.Count(fmt.Sprint(err), test.what); n < 1 || n > test.maxTried {
					t.Errorf("%d shards were tried, want at most %d: %v", n, test.maxTried, err)
				}
			})
		}
	}
}
