// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"errors"
	"runtime"
	"testing"

	"winery/sharedbase"
	"winery/test/pgtest"
)

// TestAddLarge: an object that is large and alone is added like any other, and needs the
// memory of one copy.
func TestAddLarge(t *testing.T) {
	b, conn := newBase(t)
	ctx := t.Context()
	const size, bound = 64 << 20, 96 << 20
	large := []sharedbase.Object{noise(size)}
	c := must(b.LockWritingShard(ctx, "pool"))(t)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	added := must(b.Add(ctx, c, large))(t)
	runtime.ReadMemStats(&after)
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > bound {
		t.Errorf("%d MiB were allocated for an object of %d", allocated>>20, size>>20)
	}
	if added.Objects != 1 || !added.New[0] || added.Bytes != size {
		t.Errorf("%+v", added)
	}
	present(t, b, c.Name(), large[0])
	if added := must(b.Add(ctx, c, large))(t); added.Objects != 0 {
		t.Errorf("again: %+v", added)
	}

	held := []sharedbase.Object{noise(size / 4)}
	exec(t, conn, "BEGIN")
	exec(t, conn, "INSERT INTO signature2shard SELECT $1, 'present', min(id) FROM shards", held[0].ID[:])
	if _, err := b.TryAdd(ctx, c, held); !errors.Is(err, sharedbase.ErrContended) {
		t.Errorf("while another transaction adds it: %v", err)
	}
	exec(t, conn, "ROLLBACK")
	must(b.Add(ctx, c, held))(t)
	present(t, b, c.Name(), held[0])

	if err := b.ReleaseShard(ctx, must(b.ShardByName(ctx, c.Name()))(t)); err != nil {
		t.Fatal(err)
	}
	_, err := b.Add(ctx, c, []sharedbase.Object{noise(size / 8)})
	wantState(t, err, sharedbase.StateStandby)
}

// TestAddLargeBehindPooler: the statement works through PgBouncer, too.
func TestAddLargeBehindPooler(t *testing.T) {
	dsn := pgtest.New(t)
	must(open(t, dsn).Init(t.Context()))(t)
	b := open(t, pgtest.Bouncer(t, dsn))
	large := []sharedbase.Object{noise(2 << 20)}
	c := must(b.LockWritingShard(t.Context(), "pool"))(t)
	for _, objects := range []int{1, 0} {
		if added := must(b.Add(t.Context(), c, large))(t); added.Objects != objects {
			t.Errorf("%+v", added)
		}
	}
	present(t, b, c.Name(), large[0])
}
