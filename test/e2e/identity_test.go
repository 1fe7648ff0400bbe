// SPDX-License-Identifier: GPL-3.0-or-later

package e2e

import (
	"context"
	"crypto/sha256"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"winery/sharedbase"
	"winery/test/cephtest"
	"winery/test/fleettest"
	"winery/test/harness"
	"winery/test/pgtest"
)

// logged waits until a process has logged a text.
func logged(ctx context.Context, t *testing.T, p *harness.Process, text string) {
	t.Helper()
	err := harness.Until(ctx, func() (bool, error) {
		log, err := os.ReadFile(p.Log)
		return strings.Contains(string(log), text), err
	})
	if err != nil {
		t.Fatalf("%s does not log %q: %v", p.Name, text, err)
	}
}

// TestUnmountedDirectory: nothing is packed below the mount point, neither by a role
// that starts nor by a running one. Packing resumes when the file system is back.
func TestUnmountedDirectory(t *testing.T) {
	ctx := fleettest.Within(t)
	src := goSource(t, "encoding")
	o := fleettest.Options(t)
	o.ShardMaxSize = src.Bytes / 3
	f := fleettest.New(t, o)
	atWork, err := f.Start(harness.Packer)
	if err != nil {
		t.Fatal(err)
	}
	logged(ctx, t, atWork, "starting")
	mounted := filepath.Join(o.Dir, harness.PoolName)
	if err := os.Rename(mounted, mounted+".elsewhere"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(mounted, 0o755); err != nil {
		t.Fatal(err)
	}
	w, err := f.Start(harness.Writer, "--listen", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	logged(ctx, t, w, "waiting for a pool")
	logged(ctx, t, w, "is the file system mounted?")
	fill(ctx, t, f)
	logged(ctx, t, atWork, "is the file system mounted?")
	if left, err := os.ReadDir(mounted); err != nil || len(left) != 0 {
		t.Errorf("the mount point has %v, %v", left, err)
	}
	if err := os.Remove(mounted); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(mounted+".elsewhere", mounted); err != nil {
		t.Fatal(err)
	}
	err = harness.Until(ctx, func() (bool, error) {
		shards, err := f.Base.ListShards(ctx, sharedbase.ShardFilter{States: []sharedbase.ShardState{sharedbase.StatePacked}})
		return len(shards) == 1, err
	})
	if err != nil {
		t.Fatal(err)
	}
	logged(ctx, t, w, "memory budgets") // it serves
}

// fill makes a full shard of one object.
func fill(ctx context.Context, t *testing.T, f *harness.Fleet) {
	t.Helper()
	claim, err := f.Base.CreateShard(ctx, f.Config.ActivePool)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Base.Add(ctx, claim, []sharedbase.Object{{ID: sha256.Sum256(nil), Content: []byte{}}}); err != nil {
		t.Fatal(err)
	}
	if err := claim.SetState(ctx, sharedbase.StateFull); err != nil {
		t.Fatal(err)
	}
}

// TestStagingCopy: the roles of a copy of the database are refused the pool of the
// original, and harm nothing in it.
func TestStagingCopy(t *testing.T) {
	eachPool(t, func(t *testing.T, o harness.Options) {
		ctx := fleettest.Within(t)
		src := goSource(t, "encoding")
		o.ShardMaxSize = src.Bytes / 3
		f := fleettest.New(t, o)
		add(ctx, t, f, src)
		fleettest.RunToEnd(ctx, t, f, harness.Packer)
		fleettest.RunToEnd(ctx, t, f, harness.Mapper)
		add(ctx, t, f, goSource(t, "bufio"))
		seal(ctx, t, f)
		staging := o
		staging.Dir, staging.Images, staging.DSN = t.TempDir(), o.Dir, pgtest.Copy(t, o.DSN)
		s := fleettest.Configured(t, staging)
		for _, role := range []string{harness.Packer, harness.Mapper, harness.Cleaner} {
			p, err := s.Start(role, "--stop-instead-of-waiting")
			if err != nil {
				t.Fatal(err)
			}
			if err := fleettest.Ended(ctx, t, p); err == nil || !strings.Contains(err.Error(), "wineryctl pool adopt") {
				t.Errorf("%s of the copy: %v", role, err)
			}
		}
		w, err := s.Start(harness.Writer, "--listen", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		logged(ctx, t, w, "wineryctl pool adopt")
		fleettest.RunToEnd(ctx, t, f, harness.Packer)
		fleettest.RunToEnd(ctx, t, f, harness.Mapper)
		fleettest.RunToEnd(ctx, t, f, harness.Cleaner)
		ctl(ctx, t, f, "verify")
	})
}

// TestMisspeltPool: a writer acknowledges nothing for a Ceph pool that does not exist.
func TestMisspeltPool(t *testing.T) {
	ctx := fleettest.Within(t)
	ceph := cephtest.New(t)
	o := fleettest.Options(t)
	o.CephConf, o.CephPool, o.ShardMaxSize = ceph.Conf, ceph.Pool, 1<<20
	fleettest.New(t, o)
	o.Dir, o.CephPool = t.TempDir(), ceph.Pool+"-misspelt"
	f := fleettest.Configured(t, o)
	w, err := f.Start(harness.Writer, "--listen", "unix:"+filepath.Join(o.Dir, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	logged(ctx, t, w, "waiting for a pool")
	logged(ctx, t, w, "ceph osd pool create")
	out, err := f.Ctl(ctx, "--url", "unix:"+filepath.Join(o.Dir, "socket"), "put", f.File)
	if err == nil {
		t.Errorf("stored: %s", out)
	}
	shards, err := f.Base.ListShards(ctx, sharedbase.ShardFilter{})
	if err != nil || len(shards) != 0 {
		t.Errorf("there are shards: %v, %v", shards, err)
	}
}
