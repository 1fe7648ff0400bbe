// SPDX-License-Identifier: GPL-3.0-or-later

package chaos

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"winery/sharedbase"
	"winery/test/fleettest"
	"winery/test/harness"
)

// Each thing that must not be in the end is found, one after the other, and
// nothing is found before.
func TestJudgeFinds(t *testing.T) {
	o := fleettest.Options(t)
	o.ShardMaxSize = shardMaxSize
	f := fleettest.New(t, o)
	ctx := fleettest.Within(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	sql := func(statement string) {
		t.Helper()
		if out, err := exec.CommandContext(ctx, "psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-c", statement, o.DSN).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", statement, err, out)
		}
	}
	objects := make([]sharedbase.Object, 20)
	for i := range objects {
		content := fmt.Appendf(nil, "object %d", i)
		objects[i] = sharedbase.Object{ID: sha256.Sum256(content), Content: content}
	}
	filled, err := f.Base.CreateShard(ctx, harness.PoolName)
	must(err)
	_, err = f.Base.Add(ctx, filled, objects)
	must(err)
	must(filled.SetState(ctx, sharedbase.StateFull))
	for _, role := range []string{harness.Packer, harness.Mapper, harness.Cleaner} {
		fleettest.RunToEnd(ctx, t, f, role)
	}
	open, err := f.Base.CreateShard(ctx, harness.PoolName)
	must(err)

	disk := filepath.Join(o.Dir, harness.PoolName)
	want := map[verdict]int{}
	for _, c := range []struct {
		what string
		do   func()
		want []verdict
	}{
		{"nothing", func() {}, nil},
		{"an object in an image, not in the index", func() {
			sql(fmt.Sprintf(`DELETE FROM signature2shard WHERE signature = '\x%x'`, objects[0].ID))
		}, []verdict{unerased}},
		{"a table without a shard", func() { sql("CREATE TABLE shard_i0123456789abcdef0123456789abcde ()") }, []verdict{stray}},
		{"a shard without a table", func() { sql("DROP TABLE shard_" + open.Name()) }, []verdict{stray}},
		{"an image without a shard", func() { must(os.WriteFile(filepath.Join(disk, "i0"), nil, 0o400)) }, []verdict{stray}},
		{"a draft", func() { must(os.WriteFile(filepath.Join(disk, filled.Name()+".0.tmp"), nil, 0o600)) }, []verdict{stray}},
		{"a lease of a process that is gone", func() { sql("UPDATE winery_lease SET pid = 2147483647") }, []verdict{stuck}},
		{"a lease of a process that lives", func() { sql(fmt.Sprintf("UPDATE winery_lease SET pid = %d", os.Getpid())); want[stuck]-- }, nil},
		{"a lease that ran out", func() { sql("UPDATE winery_lease SET expires = now() - interval '1 hour'") }, []verdict{stuck}},
		{"a deletion that is not done", func() { must(f.Base.Delete(ctx, objects[1].ID)) }, []verdict{stuck, unerased}},
		{"a quarantined shard", func() { must(f.Base.Quarantine(ctx, open.ID(), "a test")) }, []verdict{quarantined}},
	} {
		c.do()
		for _, v := range c.want {
			want[v]++
		}
		r := &run{fleet: f, disk: disk, services: &harness.Services{DSN: o.DSN}}
		shards, err := f.Base.ListShards(ctx, sharedbase.ShardFilter{})
		must(err)
		must(errors.Join(r.judgeQuarantined(ctx), r.judgePlaces(ctx, shards), r.judgeImages(ctx, shards)))
		left, err := r.unfinished(ctx)
		must(err)
		got := map[verdict]int{stuck: len(left)}
		for _, found := range r.findings {
			got[found.what]++
		}
		for _, v := range verdicts {
			if got[v] != want[v] {
				t.Fatalf("after %s: %d times %q, want %d: %v, %v", c.what, got[v], v, want[v], r.findings, left)
			}
		}
	}
}
