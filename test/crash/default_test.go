// SPDX-License-Identifier: GPL-3.0-or-later

package crash

import (
	"context"
	"crypto/sha256"
	"testing"
	"time"

	"winery/internal/httpapi/rpc"
	"winery/sharedbase"
	"winery/test/fleettest"
	"winery/test/harness"
	"winery/test/pgtest"
)

// afterExpiry is how long a shard may be held after its holder's lease has expired, as it
// is configured by default: a process looks every quarter of a lease, and a look may come
// to nothing.
const afterExpiry = 30 * time.Second

// TestDefaultLease kills a writer and a packer of a fleet as it is configured
// by default, each as it holds a shard, and measures how long it takes from the end of
// their leases until both shards have moved on.
func TestDefaultLease(t *testing.T) {
	t.Parallel()
	o := fleettest.Options(t)
	o.ShardMaxSize = 32 << 20
	f := fleettest.New(t, o)
	ctx := fleettest.Within(t)
	writer, err := f.StartWriter(ctx)
	if err != nil {
		t.Fatal(err)
	}
	fill(t, f)
	full := inStates(ctx, t, f, 1, sharedbase.StateFull)
	release := pgtest.Hold(t, o.DSN, "LOCK TABLE shard_"+full[0].Name) // the packer waits for the table
	packer, err := f.Start(harness.Packer)
	if err != nil {
		t.Fatal(err)
	}
	held := inStates(ctx, t, f, 2, sharedbase.StatePacking, sharedbase.StateWriting)
	for _, p := range []*harness.Process{packer, writer} {
		if err := p.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	killed := time.Now()
	release()
	for _, role := range []string{harness.Packer, harness.Mapper, harness.Cleaner} {
		if _, err := f.Start(role); err != nil {
			t.Fatal(err)
		}
	}
	expired, moved := endOfLeases(ctx, t, f, held)
	for i, h := range held {
		left, late := expired[i].Sub(killed), moved[i].Sub(expired[i])
		t.Logf("default settings: the lease of the shard that was %s expired %.0f s after its holder was killed; the shard moved on after %.0f s more",
			h.State, left.Seconds(), late.Seconds())
		if limit := f.Config.Winery.Lease * 5 / 4; left > limit { // a renewal may have been on its way to the database
			t.Errorf("the lease of the shard that was %s lasted %v after its holder was killed", h.State, left)
		}
		if late > afterExpiry {
			t.Errorf("the shard that was %s was held for %v after its lease had expired", h.State, late)
		}
	}
	if _, err := f.StartWriter(ctx); err != nil {
		t.Fatal(err)
	}
	fill(t, f) // the same objects again: nothing is new
	err = harness.Until(ctx, func() (bool, error) {
		now, err := f.Base.ShardByName(ctx, held[0].Name)
		return now.State == sharedbase.StateReadOnly, err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// inStates waits until so many shards are in one of the states, and returns them.
func inStates(ctx context.Context, t *testing.T, f *harness.Fleet, n int, states ...sharedbase.ShardState) (shards []sharedbase.Shard) {
	t.Helper()
	err := harness.Until(ctx, func() (found bool, err error) {
		shards, err = f.Base.ListShards(ctx, sharedbase.ShardFilter{States: states})
		return len(shards) >= n, err
	})
	if err != nil {
		t.Fatal(err)
	}
	return shards
}

// endOfLeases waits until the shards have other holders, and returns when the lease of each
// expired and when it was seen to be gone. The database has the clock of this machine.
func endOfLeases(ctx context.Context, t *testing.T, f *harness.Fleet, held []sharedbase.Shard) (expired, moved []time.Time) {
	t.Helper()
	expired, moved = make([]time.Time, len(held)), make([]time.Time, len(held))
	err := harness.Until(ctx, func() (bool, error) {
		leases, err := f.Base.Leases(ctx)
		if err != nil {
			return false, err
		}
		all := true
		for i, h := range held {
			switch l, isHeld := leases[h.Locker]; {
			case isHeld:
				expired[i], all = l.Expires, false
			case moved[i].IsZero():
				moved[i] = time.Now()
			}
		}
		return all, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, h := range held {
		if expired[i].IsZero() {
			t.Fatalf("the lease of the shard that was %s was not seen", h.State)
		}
	}
	return expired, moved
}

// fill adds 34 objects of a little more than 4 MiB, and reads them back.
func fill(t *testing.T, f *harness.Fleet) {
	t.Helper()
	for n := range 34 {
		content := append(make([]byte, 4<<20), byte(n))
		id := sha256.Sum256(content)
		if _, _, err := f.Client.AddBatch(t.Context(), []rpc.Object{{ID: id, Content: content}}); err != nil {
			t.Fatal(err)
		}
		got, err := f.Client.Get(t.Context(), id)
		if err != nil || sha256.Sum256(got) != id {
			t.Fatalf("object %x: %d bytes, %v", id, len(got), err)
		}
	}
}
