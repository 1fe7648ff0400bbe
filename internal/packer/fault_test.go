// SPDX-License-Identifier: GPL-3.0-or-later

package packer_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"winery/pool"
	"winery/sharedbase"
	"winery/test/cephtest"
	"winery/test/roletest"
)

// TestDiskFull packs onto a file system that is too small, and again once it
// was made larger.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	roletest.Must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"))
	t.Cleanup(func() { roletest.Must(t, unix.Unmount(dir, 0)) })
	s := roletest.New(t, roletest.Directory(t, dir))
	objects := roletest.Objects(1, 500, 20_000)
	name := s.Full(t, objects)
	if worked, err := step(s)(t.Context()); worked || !errors.Is(err, pool.ErrFull) {
		t.Fatalf("%v, %v", worked, err)
	}
	s.WantState(t, name, sharedbase.StateFull)
	roletest.Must(t, unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size=16m"))
	packs(t, s)
	s.WantObjects(t, name, objects)
}

// TestQuota does the same with the quota of a Ceph pool. Ceph counts what a
// pool holds every few seconds only, so a first shard goes through.
func TestQuota(t *testing.T) {
	s := roletest.New(t, roletest.RBD(t))
	s.Full(t, roletest.Objects(1, 100, 20_000))
	objects := roletest.Objects(2, 100, 20_000)[1:]
	name := s.Full(t, objects)
	conn := cephtest.Connect(t)
	ceph := func(command map[string]any) []byte { return cephtest.Command(t, conn, command) }
	quota := func(bytes string) {
		ceph(map[string]any{"prefix": "osd pool set-quota", "pool": s.Config.DataPool, "field": "max_bytes", "val": bytes})
	}
	waitFull := func(want bool) {
		t.Helper()
		deadline := time.Now().Add(time.Minute)
		for isFull(t, s.Config.DataPool, ceph(map[string]any{"prefix": "osd dump", "format": "json"})) != want {
			if time.Now().After(deadline) {
				t.Fatal("Ceph does not notice its quota")
			}
			<-time.After(200 * time.Millisecond)
		}
	}
	quota("100000")
	packs(t, s)
	waitFull(true)
	if worked, err := step(s)(t.Context()); worked || !errors.Is(err, pool.ErrFull) {
		t.Fatalf("%v, %v", worked, err)
	}
	s.WantState(t, name, sharedbase.StateFull)
	quota("0")
	waitFull(false)
	packs(t, s)
	s.WantObjects(t, name, objects)
}

// isFull finds in a dump of Ceph's pools whether one has reached its quota.
func isFull(t *testing.T, pool string, dump []byte) bool {
	t.Helper()
	var all struct {
		Pools []struct {
			Name  string `json:"pool_name"`
			Flags string `json:"flags_names"`
		}
	}
	roletest.Must(t, json.Unmarshal(dump, &all))
	for _, p := range all.Pools {
		if p.Name == pool {
			return strings.Contains(p.Flags, "full_quota")
		}
	}
	t.Fatalf("Ceph has no pool %s", pool)
	return false
}
