// SPDX-License-Identifier: GPL-3.0-or-later

package e2e

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"winery/internal/status"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/fleettest"
	"winery/test/harness"
	"winery/test/pgtest"
)

// ctlStatus runs wineryctl status, and returns what it printed and its exit status.
func ctlStatus(t *testing.T, o harness.Options, f *harness.Fleet, args ...string) (string, int) {
	t.Helper()
	_, file := f.For(harness.Status)
	cmd := exec.CommandContext(t.Context(), filepath.Join(o.Bin, "wineryctl"), append([]string{"--config", file, "status"}, args...)...)
	out, err := cmd.Output()
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// codes are those of the problems of a fleet, in the order of the report.
func codes(t *testing.T, o harness.Options, f *harness.Fleet) (found []status.Code) {
	t.Helper()
	var r status.Report
	text, _ := ctlStatus(t, o, f, "--output", "json")
	expect.NoError(t, json.Unmarshal([]byte(text), &r))
	for _, p := range r.Problems {
		found = append(found, p.Code)
	}
	return found
}

// TestStatus: there is no problem in a fleet of which every role runs and has nothing to do.
// What breaks then is reported, and what is cured as the report says is reported no more.
func TestStatus(t *testing.T) {
	o := fleettest.Options(t)
	o.ShardMaxSize, o.Lease = 1<<20, lease
	f := fleettest.New(t, o)
	ctx := fleettest.Within(t)
	_, err := f.StartWriter(ctx)
	expect.NoError(t, err)
	_, err = goSource(t, "net/http").Store(ctx, f.Client, func(int) {})
	expect.NoError(t, err)
	roles := map[string]*harness.Process{}
	for _, role := range []string{harness.Packer, harness.Mapper, harness.Cleaner} {
		roles[role], err = f.Start(role)
		expect.NoError(t, err)
	}
	expect.NoError(t, f.WaitReadOnly(ctx))
	expect.Eventually(t, "all roles to be seen", func() bool { p, err := f.Base.Processes(ctx); return err == nil && len(p) == 4 })
	var text string
	var exit int
	expect.Eventually(t, "a healthy fleet", func() bool { // a heartbeat may still tell of a lease that was lost on a busy machine
		text, exit = ctlStatus(t, o, f)
		return exit == 0 && len(codes(t, o, f)) == 0
	})
	t.Logf("a healthy fleet\n%s", text)

	// The packer dies, and a shard has become full; a shard is damaged; a host was replaced.
	expect.NoError(t, roles[harness.Packer].Kill())
	claim, err := f.Base.CreateShard(ctx, harness.PoolName)
	expect.NoError(t, err)
	expect.NoError(t, claim.SetState(ctx, sharedbase.StateFull))
	shards, err := f.Base.ListShards(ctx, sharedbase.ShardFilter{States: []sharedbase.ShardState{sharedbase.StateReadOnly}})
	expect.NoError(t, err)
	damaged := shards[0].Name
	expect.NoError(t, f.Base.Quarantine(ctx, shards[0].ID, "object damaged: checksum mismatch"))
	for _, s := range shards {
		_, err = f.Base.RecordShardMapped(ctx, "ceph9", s.Pool, s.Name)
		expect.NoError(t, err)
	}
	hour := func(table, column, where string) {
		pgtest.Exec(t, o.DSN, "UPDATE "+table+" SET "+column+" = "+column+" - interval '1 hour' WHERE "+where)
	}
	hour("winery_process", "last_seen", "role = 'packer'")
	hour("winery_state", "since", "true")
	text, exit = ctlStatus(t, o, f)
	t.Logf("exit status %d\n%s", exit, text)
	want := []status.Code{status.Quarantined, status.FullWithoutPacker, status.HostGone, status.ProcessGone}
	if found := codes(t, o, f); exit != 1 || !slices.Equal(found, want) {
		t.Fatalf("a broken fleet: exit status %d, problems %v, want %v", exit, found, want)
	}

	// The pool's file system is not mounted.
	folder := filepath.Join(o.Dir, harness.PoolName)
	expect.NoError(t, os.Rename(folder, folder+".away"))
	if found := codes(t, o, f); !slices.Contains(found, status.PoolUnusable) {
		t.Errorf("without the pool: %v", found)
	}
	expect.NoError(t, os.Rename(folder+".away", folder))

	for _, cure := range [][]string{{"verify", "--repair", "--shard", damaged}, {"hosts", "forget", "ceph9"}} {
		_, err = f.Ctl(ctx, cure...)
		expect.NoError(t, err)
	}
	_, err = f.Start(harness.Packer)
	expect.NoError(t, err)
	expect.Eventually(t, "no problem to be left", func() bool { return len(codes(t, o, f)) == 0 })
}
