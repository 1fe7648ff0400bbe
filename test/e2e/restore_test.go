// SPDX-License-Identifier: GPL-3.0-or-later

package e2e

import (
	"context"
	"os/exec"
	"path/filepath"
	"testing"

	"winery/sharedbase"
	"winery/test/fleettest"
	"winery/test/harness"
	"winery/test/pgtest"
)

// TestRestoreFromAnOlderBackup follows docs/operations.md: a database is dumped, more
// is added and packed, and the dump restored. Every object is read that was in an
// image, or in the dump.
func TestRestoreFromAnOlderBackup(t *testing.T) {
	eachPool(t, func(t *testing.T, o harness.Options) {
		ctx := fleettest.Within(t)
		before, after := goSource(t, "net/http"), goSource(t, "encoding")
		o.ShardMaxSize = before.Bytes / 3
		f := fleettest.New(t, o)
		add(ctx, t, f, before)
		fleettest.RunToEnd(ctx, t, f, harness.Packer)
		dump := filepath.Join(t.TempDir(), "dump")
		command(ctx, t, "pg_dump", "--format=custom", "--file="+dump, o.DSN)
		add(ctx, t, f, after)
		seal(ctx, t, f) // all of it is packed, which the dump does not know
		fleettest.RunToEnd(ctx, t, f, harness.Packer)
		fleettest.RunToEnd(ctx, t, f, harness.Mapper)
		fleettest.RunToEnd(ctx, t, f, harness.Cleaner)

		restored := o
		restored.Dir, restored.DSN = t.TempDir(), pgtest.New(t)
		restored.Images = o.Dir
		command(ctx, t, "pg_restore", "--no-owner", "--dbname="+restored.DSN, dump)
		r := fleettest.Configured(t, restored)
		if out, err := r.Ctl(ctx, "db", "init"); err == nil {
			t.Fatalf("the pool of the old database was initialised: %s", out)
		}
		ctl(ctx, t, r, "pool", "adopt", r.Config.ActivePool, "--yes")
		t.Log(ctl(ctx, t, r, "index", "reconcile", "--dry-run"))
		t.Log(ctl(ctx, t, r, "index", "reconcile"))
		ctl(ctx, t, r, "verify", "--sample", "100")
		if _, err := r.StartWriter(ctx); err != nil {
			t.Fatal(err)
		}
		for _, src := range []*harness.Source{before, after} {
			if _, err := src.Compare(ctx, r.Client, nil, func(int) {}); err != nil {
				t.Error(err)
			}
		}
		fleettest.RunToEnd(ctx, t, r, harness.Packer)
		fleettest.RunToEnd(ctx, t, r, harness.Mapper)
		fleettest.RunToEnd(ctx, t, r, harness.Cleaner)
		ctl(ctx, t, r, "verify")

		// The old database's roles are refused from now on.
		p, err := f.Start(harness.Packer, "--stop-instead-of-waiting")
		if err != nil {
			t.Fatal(err)
		}
		if err := fleettest.Ended(ctx, t, p); err == nil {
			t.Error("a packer of the old database works")
		}
	})
}

// add stores all of a tree by a writer that is stopped then.
func add(ctx context.Context, t *testing.T, f *harness.Fleet, src *harness.Source) {
	t.Helper()
	p, err := f.StartWriter(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := src.Store(ctx, f.Client, func(int) {}); err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
}

// seal makes every shard that is open full.
func seal(ctx context.Context, t *testing.T, f *harness.Fleet) {
	t.Helper()
	for {
		claim, err := f.Base.LockOneShard(ctx, sharedbase.StateStandby, sharedbase.StateWriting, sharedbase.ClaimFilter{})
		if err != nil {
			t.Fatal(err)
		}
		if claim == nil {
			return
		}
		if err := claim.SetState(ctx, sharedbase.StateFull); err != nil {
			t.Fatal(err)
		}
	}
}

func ctl(ctx context.Context, t *testing.T, f *harness.Fleet, args ...string) string {
	t.Helper()
	out, err := f.Ctl(ctx, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func command(ctx context.Context, t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}
