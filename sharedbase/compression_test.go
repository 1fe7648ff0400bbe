// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"testing"

	"winery/test/expect"
)

// A new database compresses contents by lz4, and so does one that Python Winery
// made after Tune. Tables of new shards have the compression of the template.
func TestCompression(t *testing.T) {
	b, conn := newBase(t)
	ctx := t.Context()
	method := func(want string) {
		t.Helper()
		if got := must(b.Compression(ctx))(t); got != want {
			t.Errorf("contents are compressed by %q, want %q", got, want)
		}
	}
	method("lz4")
	c := must(b.LockWritingShard(ctx, "pool"))(t)
	if n := count(t, conn, "SELECT count(*) FROM pg_attribute WHERE attrelid = 'shard_"+c.Name()+"'::regclass AND attname = 'content' AND attcompression = 'l'"); n != 1 {
		t.Error("the table of a new shard is not compressed by lz4")
	}
	expect.NoError(t, c.Release(ctx))

	exec(t, conn, "ALTER TABLE shard_template ALTER content SET COMPRESSION default") // as Python Winery's
	method("pglz")
	expect.NoError(t, b.Tune(ctx))
	method("lz4")
	expect.NoError(t, b.Tune(ctx))
}
