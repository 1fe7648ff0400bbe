// SPDX-License-Identifier: GPL-3.0-or-later

package crash

import (
	"crypto/sha256"
	"testing"
	"time"

	"winery/internal/httpapi/rpc"
	"winery/sharedbase"
	"winery/test/fleettest"
	"winery/test/harness"
)

// TestDefaultLease kills a writer and a packer of a fleet as it is configured
// by default, each as it holds a shard, and measures how long it takes until
// both shards have moved on.
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
	packer, err := f.Start(harness.Packer)
	if err != nil {
		t.Fatal(err)
	}
	var held []sharedbase.Shard
	for len(held) < 2 { // packing does not take long
		held, err = f.Base.ListShards(ctx, sharedbase.ShardFilter{
			States: []sharedbase.ShardState{sharedbase.StatePacking, sharedbase.StateWriting},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []*harness.Process{packer, writer} {
		if err := p.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	killed := time.Now()
	for _, role := range []string{harness.Packer, harness.Mapper, harness.Cleaner} {
		if _, err := f.Start(role); err != nil {
			t.Fatal(err)
		}
	}
	for _, h := range held {
		err := harness.Until(ctx, func() (bool, error) {
			now, err := f.Base.ShardByName(ctx, h.Name)
			return now.Locker != h.Locker, err
		})
		if err != nil {
			t.Fatal(err)
		}
		took := time.Since(killed)
		t.Logf("default settings: the shard that was %s moved on %.0f s after its holder was killed", h.State, took.Seconds())
		if took > 90*time.Second {
			t.Errorf("the shard that was %s was held for %v", h.State, took)
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
