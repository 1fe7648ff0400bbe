// SPDX-License-Identifier: GPL-3.0-or-later

package fault

import (
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

	"winery/sharedbase"
	"winery/test/cephtest"
	"winery/test/fleettest"
	"winery/test/harness"
)

// The OSD stops during all work: a call that hangs in librbd is reported,
// continues when the OSD does, and ends the process if it hangs too long, so that
// another process takes the shard. A pool at its quota is a failure, with
// backoff.
func TestCephUnavailable(t *testing.T) {
	t.Parallel()
	ceph := cephtest.Start(t)
	o := fleettest.Options(t)
	o.CephConf, o.CephPool, o.ShardMaxSize = ceph.Conf, "shards", 4<<20
	o.Lease, o.StallLimit = lease, 15*time.Second // the first warning comes after a second
	f, ctx := fleettest.New(t, o), fleettest.Within(t)
	if _, err := f.StartWriter(ctx); err != nil {
		t.Fatal(err)
	}
	full := func() [32]byte { return fill(ctx, t, f) }
	run := func(role string) *harness.Process {
		p, err := f.Start(role)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	packed := func(n int) {
		t.Helper()
		if err := harness.Until(ctx, func() (bool, error) { return inState(ctx, t, f, sharedbase.StatePacked) == n, nil }); err != nil {
			t.Fatal(err)
		}
	}

	// For a while.
	id := full()
	ceph.SignalOSD(syscall.SIGSTOP)
	packer := run(harness.Packer)
	says(ctx, t, packer, 0, "no progress", "packing i")
	ceph.SignalOSD(syscall.SIGCONT)
	packed(1)
	says(ctx, t, packer, 0, "shard packed", "")

	// For too long: the process exits, and the OSD must be started again.
	ceph.SignalOSD(syscall.SIGSTOP)
	full()
	stopped := time.Now()
	select {
	case <-packer.Done():
	case <-ctx.Done():
		t.Fatal("the packer hangs")
	}
	if err := packer.Err(); err == nil || said(t, packer, "no progress: this process exits, its lease expires, and another process continues", "packing i") != 1 {
		t.Errorf("the packer ended by itself: %v", err)
	}
	t.Logf("the packer ended after %v", time.Since(stopped).Round(time.Second))
	ceph.SignalOSD(syscall.SIGKILL)
	ceph.StartOSD()
	began := time.Now()
	packer = run(harness.Packer)
	packed(2)
	t.Logf("another packed its shard in %v", time.Since(began).Round(time.Second))

	// The cleaner erases an object that was deleted.
	if err := f.Client.Delete(ctx, id); err != nil {
		t.Fatal(err)
	}
	ceph.SignalOSD(syscall.SIGSTOP)
	cleaner := run(harness.Cleaner) // no host has mapped an image: it only erases
	says(ctx, t, cleaner, 0, "no progress", "erasing deleted objects of i")
	ceph.SignalOSD(syscall.SIGCONT)
	says(ctx, t, cleaner, 0, "deleted objects erased", "")

	// Full.
	ceph.Ceph("osd", "pool", "set-quota", "shards-data", "max_bytes", "1")
	noticed := func() (bool, error) {
		return strings.Contains(ceph.Ceph("osd", "pool", "ls", "detail"), "full_quota"), nil
	}
	if err := harness.Until(ctx, noticed); err != nil {
		t.Fatal(err)
	}
	full()
	says(ctx, t, packer, 0, "step failed", "pool is full")
	ceph.Ceph("osd", "pool", "set-quota", "shards-data", "max_bytes", "0")
	packed(3)
}

// fill makes a shard full, and returns one of its objects.
func fill(ctx context.Context, t *testing.T, f *harness.Fleet) (id [32]byte) {
	t.Helper()
	for range 4 {
		content := random(1 << 20)
		id = sum(content)
		if err := f.Client.Add(ctx, id, content); err != nil {
			t.Fatal(err)
		}
	}
	return id
}
