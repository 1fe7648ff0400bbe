// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"strings"
	"testing"

	"winery/sharedbase"
)

// Only the exported rows are removed, and only by the holder of the claim.
func TestRemoveDamagedComparesWhatWasExported(t *testing.T) {
	b, conn := newBase(t)
	ctx := t.Context()
	s := shardIn(t, b, sharedbase.StateFull, objects("whole", "changed")...)
	changed := object("changed")
	exec(t, conn, "UPDATE shard_"+s.Name+" SET content = 'one' WHERE key = $1", changed.ID[:])
	c := claim(t, b, s, sharedbase.StatePacking)
	rows := must(c.DamagedRows(ctx))(t)
	if len(rows) != 1 || string(rows[0].Key) != string(changed.ID[:]) || rows[0].Size != 3 {
		t.Fatalf("damaged rows %+v", rows)
	}
	exec(t, conn, "UPDATE shard_"+s.Name+" SET content = 'other' WHERE key = $1", changed.ID[:])
	if err := c.RemoveDamaged(ctx, rows); err == nil || !strings.Contains(err.Error(), "export them again") {
		t.Errorf("removing other content: %v", err)
	}
	if n := count(t, conn, "SELECT count(*) FROM signature2shard"); n != 2 {
		t.Errorf("%d rows in the index after a failure, want 2", n)
	}
	rows = must(c.DamagedRows(ctx))(t)
	if err := b.ReleaseShard(ctx, must(b.ShardByName(ctx, s.Name))(t)); err == nil {
		wantState(t, c.RemoveDamaged(ctx, rows), sharedbase.StateFull)
		c = claim(t, b, s, sharedbase.StatePacking)
	}
	if err := c.RemoveDamaged(ctx, rows); err != nil {
		t.Fatal(err)
	}
	absent(t, b, changed)
	present(t, b, s.Name, object("whole"))
}
