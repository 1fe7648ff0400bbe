// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"testing"
	"time"

	"winery/sharedbase"
)

// A plan that is made while tables are small is kept while they grow: lookups read no table as a whole even then.
func TestLookupsUseTheIndexes(t *testing.T) {
	b, conn := newBase(t)
	c := must(b.LockWritingShard(t.Context(), "pool"))(t)
	o := object("content")
	must(b.Add(t.Context(), c, []sharedbase.Object{o}))(t)
	exec(t, conn, "ANALYZE signature2shard, shards, shard_"+c.Name())
	scans := func(of string) int {
		return count(t, conn, "SELECT sum("+of+") FROM pg_stat_all_tables WHERE relname IN ('signature2shard', 'shards', 'shard_' || $1)", c.Name())
	}
	const lookups = 50
	indexed, whole := scans("idx_scan"), scans("seq_scan")
	for range lookups {
		must(b.Locate(t.Context(), ids(o)))(t)
		must(b.Content(t.Context(), c.Name(), ids(o), 100))(t)
	}
	// A session reports its statistics once a second, and when it ends: of each lookup both scans together.
	b.Close()
	for deadline := time.Now().Add(30 * time.Second); scans("idx_scan")+scans("seq_scan") < indexed+whole+3*lookups; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d scans of indexes, %d of tables", scans("idx_scan")-indexed, scans("seq_scan")-whole)
		}
	}
	if more := scans("seq_scan") - whole; more >= lookups { // the statements before report late, too
		t.Errorf("%d lookups read whole tables %d times", lookups, more)
	}
}
