// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"winery/sharedbase"
	"winery/test/expect"
)

// host returns a host by its name.
func host(t *testing.T, b *sharedbase.SharedBase, name string) sharedbase.Host {
	t.Helper()
	for _, h := range must(b.Hosts(t.Context()))(t) {
		if h.Name == name {
			return h
		}
	}
	t.Fatalf("host %s is not listed", name)
	return sharedbase.Host{}
}

// TestHosts: hosts are known from mapped images, heartbeats and leases.
func TestHosts(t *testing.T) {
	b, conn := newBase(t)
	for _, h := range []string{"gone", "other"} {
		for range 2 {
			must(b.RecordShardMapped(t.Context(), h, "pool", shardIn(t, b, sharedbase.StatePacked).Name))(t)
		}
	}
	must(b.LockWritingShard(t.Context(), "pool"))(t)
	exec(t, conn, `INSERT INTO winery_process (id, role, host, pid, version, lease, last_seen, status, failing) VALUES
		(gen_random_uuid(), 'mapper', 'other', 1, '', '1 min', now() - interval '5 min', '', false),
		(gen_random_uuid(), 'cleaner', 'other', 1, '', '1 min', now(), '', false)`)
	if h := host(t, b, "gone"); h.Mapped != 2 || len(h.Roles) != 0 || h.Running() || h.Leases != 0 {
		t.Errorf("the host that mapped images: %+v", h)
	}
	if h := host(t, b, "other"); h.Mapped != 2 || !slices.Equal(h.Roles, []string{"cleaner", "mapper"}) || !h.Running() {
		t.Errorf("the host that sends heartbeats: %+v", h)
	}
	if all := must(b.Hosts(t.Context()))(t); len(all) != 3 {
		t.Errorf("hosts %+v", all)
	}
	exec(t, conn, "UPDATE winery_lease SET host = 'leasing'")
	if h := host(t, b, "leasing"); h.Leases != 1 || h.Running() {
		t.Errorf("the host with a lease: %+v", h)
	}
}

// TestForgetHost: all shards lose the host, in several batches, and the shards with a
// table that no other host has mapped are counted.
func TestForgetHost(t *testing.T) {
	b, conn := newBase(t)
	exec(t, conn, `INSERT INTO shards (name, state, pool_name, mapped_on_hosts_when_packed) SELECT 's' || n,
		(CASE WHEN n <= 3 THEN 'packed' ELSE 'readonly' END)::shard_state, 'pool', CASE WHEN n % 2 = 0 THEN '{gone}'::text[] ELSE '{gone,other}' END
		FROM generate_series(1, 2500) n`)
	exec(t, conn, `INSERT INTO winery_process (id, role, host, pid, version, lease, last_seen, status, failing)
		VALUES (gen_random_uuid(), 'mapper', 'gone', 1, '', '1 min', now() - interval '5 min', '', false)`)
	if f := must(b.ForgetHost(t.Context(), "gone", 1, false))(t); f != (sharedbase.Forgotten{Shards: 2500, Lacking: 1}) {
		t.Errorf("forgotten %+v", f)
	}
	if n := count(t, conn, "SELECT count(*) FROM shards WHERE mapped_on_hosts_when_packed IN ('{}', '{other}')"); n != 2500 {
		t.Errorf("%d shards have the hosts that remain", n)
	}
	if all := must(b.Hosts(t.Context()))(t); len(all) != 1 || all[0].Name != "other" {
		t.Errorf("hosts %+v", all)
	}
	if f := must(b.ForgetHost(t.Context(), "other", 2, false))(t); f.Lacking != 2 {
		t.Errorf("with two hosts wanted, forgotten %+v", f)
	}
}

// TestForgetHostInUse: a host with a process that runs or has a lease is forgotten only
// by force.
func TestForgetHostInUse(t *testing.T) {
	b, conn := newBase(t)
	name := shardIn(t, b, sharedbase.StatePacked).Name
	refused := func(says string) {
		t.Helper()
		_, err := b.ForgetHost(t.Context(), "ceph3", 1, false)
		if !errors.As(err, new(*sharedbase.HostInUseError)) || !strings.Contains(err.Error(), says) {
			t.Errorf("error %v, want one that says %q", err, says)
		}
		if hosts := must(b.ShardByName(t.Context(), name))(t).MappedOn; len(hosts) != 1 {
			t.Fatalf("forgotten nevertheless: %v", hosts)
		}
	}
	must(b.RecordShardMapped(t.Context(), "ceph3", "pool", name))(t)
	exec(t, conn, `INSERT INTO winery_process (id, role, host, pid, version, lease, status, failing)
		VALUES (gen_random_uuid(), 'mapper', 'ceph3', 4711, '', '1 min', '', false)`)
	refused("s ago from mapper (pid 4711)")
	exec(t, conn, "DELETE FROM winery_process")
	packing := claim(t, b, shardIn(t, b, sharedbase.StateFull), sharedbase.StatePacking)
	exec(t, conn, "UPDATE winery_lease SET host = 'ceph3', role = 'packer'")
	refused("packer (pid")
	expect.NoError(t, packing.Release(t.Context()))
	exec(t, conn, "DELETE FROM winery_lease")
	must(b.ClaimImage(t.Context(), name))(t)
	exec(t, conn, "UPDATE winery_image_lease SET host = 'ceph3', role = 'cleaner'")
	refused("cleaner (pid")
	if f := must(b.ForgetHost(t.Context(), "ceph3", 1, true))(t); f.Shards != 1 || f.Lacking != 1 {
		t.Errorf("by force: %+v", f)
	}
}
