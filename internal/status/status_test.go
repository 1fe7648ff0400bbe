// SPDX-License-Identifier: GPL-3.0-or-later

package status_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"winery/internal/config"
	"winery/internal/status"
	"winery/internal/storage"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/pgtest"
	"winery/test/roletest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fleet is a database and a pool that belong to each other, without processes.
type fleet struct {
	*roletest.Stage
	source *status.Source
}

// newFleet makes a fleet whose processes seem to run.
func newFleet(t *testing.T) *fleet {
	t.Helper()
	s := roletest.New(t, roletest.Directory(t, ""))
	_, _, err := storage.Init(t.Context(), s.Base, s.Pool)
	expect.NoError(t, err)
	f := &fleet{s, &status.Source{Base: s.Base, Pools: []config.Pool{s.Config}, Set: s.Pools}}
	for _, role := range []string{"writer", "packer", "mapper", "cleaner"} {
		f.process(t, role, "ceph1", "0 s", "nothing to do", false)
	}
	return f
}

// process records a process that was seen that long ago.
func (f *fleet) process(t *testing.T, role, host, unseen, what string, failing bool) {
	t.Helper()
	pgtest.Exec(t, f.DSN, `INSERT INTO winery_process (id, role, host, pid, version, lease, started, last_seen, status, failing)
		VALUES (gen_random_uuid(), $1, $2, 4711, '1.0', '1 min', now() - interval '2 hours', now() - $3::text::interval, $4, $5)`, role, host, unseen, what, failing)
}

// shard records a shard that has been in its state that long, and returns its number.
func (f *fleet) shard(t *testing.T, state, age string) {
	t.Helper()
	pgtest.Exec(t, f.DSN, "INSERT INTO shards (name, state, pool_name) VALUES ('one', $1::text::shard_state, 'files')", state)
	pgtest.Exec(t, f.DSN, "UPDATE winery_state SET since = now() - $1::text::interval", age)
}

// TestWell: a fleet that works, with shards in all states, has no problem.
func TestWell(t *testing.T) {
	f := newFleet(t)
	f.Full(t, roletest.Objects(1, 10, 100))
	_, err := f.Base.CreateShard(t.Context(), "files")
	expect.NoError(t, err)
	pgtest.Exec(t, f.DSN, `INSERT INTO shards (name, state, pool_name, mapped_on_hosts_when_packed)
		VALUES ('packed', 'packed', 'files', '{ceph1}'), ('readonly', 'readonly', 'files', '{ceph1}')`)
	r := status.Read(t.Context(), f.source)
	if r.Verdict != status.Well || len(r.Problems) != 0 {
		t.Errorf("verdict %s: %+v", r.Verdict, r.Problems)
	}
	if len(r.Shards) != 4 || r.FullQueueBytes == 0 || len(r.Processes) != 4 || r.Pools[0].State != storage.Recorded || r.Database.Name == "" {
		t.Errorf("%+v", r)
	}
	if len(r.Hosts) != 2 || r.Hosts[0].Mapped+r.Hosts[1].Mapped != 2 {
		t.Errorf("hosts %+v", r.Hosts)
	}
	text, err := json.Marshal(r)
	expect.NoError(t, err)
	if strings.Contains(string(text), ":null,") && !strings.Contains(string(text), `"uuid":"`) {
		t.Errorf("lists that are null: %s", text)
	}
}

// TestProblems breaks one thing after the other: each is found, and nothing else.
func TestProblems(t *testing.T) {
	exec := func(sql string) func(*testing.T, *fleet) {
		return func(t *testing.T, f *fleet) { pgtest.Exec(t, f.DSN, sql) }
	}
	both := func(all ...func(*testing.T, *fleet)) func(*testing.T, *fleet) {
		return func(t *testing.T, f *fleet) {
			for _, do := range all {
				do(t, f)
			}
		}
	}
	without := func(role string) func(*testing.T, *fleet) {
		return exec("DELETE FROM winery_process WHERE role = '" + role + "'")
	}
	shard := func(state, age string) func(*testing.T, *fleet) {
		return func(t *testing.T, f *fleet) { f.shard(t, state, age) }
	}
	process := func(role, host, unseen, what string, failing bool) func(*testing.T, *fleet) {
		return func(t *testing.T, f *fleet) { f.process(t, role, host, unseen, what, failing) }
	}
	for name, c := range map[string]struct {
		broken   func(*testing.T, *fleet)
		code     status.Code // "": no problem
		severity status.Severity
		says     []string
	}{
		"a quarantined shard": {
			both(shard("readonly", "1 day"), exec("INSERT INTO winery_quarantine SELECT id, 'object damaged', 'scrub', 'ceph1' FROM shards")),
			status.Quarantined, status.Error, []string{"1 shard is quarantined", "one: object damaged", "wineryctl verify --repair --shard one"},
		},
		"a lease that expired": {
			both(exec("INSERT INTO shards (name, state, pool_name, locker) VALUES ('one', 'packing', 'files', gen_random_uuid())"),
				exec("INSERT INTO winery_lease SELECT id, locker, 'packer', 'ceph2', 1, '', now() - interval '5 min' FROM shards")),
			status.LeaseExpired, status.Error, []string{"1 shard is locked", "one (packing), locked by packer on ceph2 (pid 1), whose lease expired 5 min ago", "--holder ceph2:packer"},
		},
		"a lease that expired just now": {
			both(exec("INSERT INTO shards (name, state, pool_name, locker) VALUES ('one', 'packing', 'files', gen_random_uuid())"),
				exec("INSERT INTO winery_lease SELECT id, locker, 'packer', 'ceph2', 1, '', now() - interval '5 s' FROM shards")),
			"", "", nil,
		},
		"a lock of Python's for days": {
			exec("INSERT INTO shards (name, state, pool_name, locker, locker_ts) VALUES ('one', 'packing', 'files', gen_random_uuid(), now() - interval '3 days')"),
			status.LockedWithoutLease, status.Warning, []string{"one (packing), locked 3 days ago", "wineryctl shards release --shard one"},
		},
		"full, no packer": {both(shard("full", "3 hours"), without("packer")),
			status.FullWithoutPacker, status.Error, []string{"no packer runs, and 1 FULL shard waits for one, the oldest for 3 h", "pool files", "systemctl start winery-packer@files on a host"}},
		"full for half an hour, a packer": {shard("full", "30 minutes"), "", "", nil},
		"full, a packer packs another shard": {both(exec("INSERT INTO shards (name, state, pool_name, locker) VALUES ('two', 'packing', 'files', gen_random_uuid())"),
			exec("INSERT INTO winery_lease SELECT id, locker, 'packer', 'ceph1', 1, '', now() + interval '1 min' FROM shards"), shard("full", "3 hours")), "", "", nil},
		"full, a packer of no shard": {shard("full", "3 hours"),
			status.FullWithoutPacker, status.Error, []string{"1 FULL shard waits for a packer of the pool, the oldest for 3 h", "pool files", "systemctl start winery-packer@files on a host", "journalctl -u winery-packer@files"}},
		"full and quarantined, a packer": {both(shard("full", "3 hours"), exec("INSERT INTO winery_quarantine SELECT id, 'table damaged', 'packer', 'ceph1' FROM shards")),
			status.Quarantined, status.Error, []string{"one: table damaged"}},
		"full for days and quarantined, another for a minute, no packer": {both(without("packer"), shard("full", "3 days"),
			exec("INSERT INTO winery_quarantine SELECT id, 'table damaged', 'packer', 'ceph1' FROM shards"),
			exec("INSERT INTO shards (name, state, pool_name) VALUES ('two', 'full', 'files')")),
			status.Quarantined, status.Error, []string{"one: table damaged"}},
		"full for a minute": {both(shard("full", "1 minute"), without("packer")), "", "", nil},
		"full, a packer of Python's": {both(without("packer"), exec("INSERT INTO shards (name, state, pool_name, locker, locker_ts) VALUES ('two', 'packing', 'files', gen_random_uuid(), now())"),
			shard("full", "3 hours")), "", "", nil},
		"packed, no mapper": {both(shard("packed", "3 hours"), without("mapper")),
			status.PackedUnmapped, status.Error, []string{"no mapper runs, and 1 PACKED shard waits, the oldest for 3 h", "systemctl start winery-rbd-mapper"}},
		"packed, no cleaner": {both(shard("packed", "3 hours"), exec("UPDATE shards SET mapped_on_hosts_when_packed = '{ceph1}'"), without("cleaner")),
			status.PackedUncleaned, status.Warning, []string{"no cleaner runs, and 1 PACKED shard waits", "systemctl start winery-cleaner"}},
		"packed for days": {both(shard("packed", "3 days"), exec("UPDATE shards SET mapped_on_hosts_when_packed = '{ceph1}'")),
			status.PackedLong, status.Warning, []string{"1 PACKED shard waits, the oldest for 3 days although mapper and cleaner run", "--min-mapped-hosts"}},
		"a host that is gone": {both(shard("readonly", "1 day"), exec("UPDATE shards SET mapped_on_hosts_when_packed = '{ceph1,ceph9}'")),
			status.HostGone, status.Warning, []string{"1 host counts", "the roles were stopped, or were not seen for a day", "ceph9, which mapped 1 image", "start the roles there; if the host is gone for good: wineryctl hosts forget ceph9"}},
		"a read-only writer alone": {both(without("writer"), process("reader", "ceph2", "5 s", "", false)),
			status.NoWriter, status.Error, []string{"only read-only ones: objects can be read, but not stored", "systemctl start winery-writer"}},
		"no writer": {without("writer"), status.NoWriter, status.Error, []string{"no writer runs", "systemctl start winery-writer"}},
		"a process that died": {process("packer", "ceph2", "10 min", "packing i3f: 41 %", false),
			status.ProcessGone, status.Warning, []string{"packer on ceph2 (pid 4711), last seen 10 min ago: packing i3f: 41 %", "systemctl status 'winery-*' on ceph2"}},
		"a process that fails": {process("packer", "ceph2", "5 s", "failed, retry in 1m0s: pool is full", true),
			status.ProcessFailing, status.Error, []string{"packer on ceph2 (pid 4711): failed, retry in 1m0s: pool is full"}},
		"versions": {both(process("packer", "ceph2", "5 s", "", false), exec("UPDATE winery_process SET version = '0.9' WHERE host = 'ceph2'")),
			status.VersionsDiffer, status.Warning, []string{"version 0.9: packer on ceph2", "version 1.0: cleaner on ceph1, mapper on ceph1", "/usr/share/doc/winery/versions.md"}},
		"leases": {both(process("packer", "ceph2", "5 s", "", false), exec("UPDATE winery_process SET lease = '10 s' WHERE host = 'ceph2'")),
			status.LeasesDiffer, status.Warning, []string{"lease 10s: packer on ceph2", "winery.lease"}},
		"a host name of two machines": {both(process("packer", "ceph1", "5 s", "", false), exec("UPDATE winery_process SET boot = role")),
			status.HostNameShared, status.Warning, []string{"1 host name is that of several machines", "and another machine with", "hostnamectl"}},
		"a host that was restarted": {both(process("packer", "ceph1", "5 s", "", false), exec("UPDATE winery_process SET boot = role, started = last_seen - interval '1 s'"),
			exec("UPDATE winery_process SET started = started - interval '2 hours', last_seen = last_seen - interval '10 s' WHERE role <> 'writer'"),
			exec("UPDATE winery_process SET boot = 'earlier' WHERE role <> 'writer'")), "", "", nil},
		"a pool that is not configured": {exec("INSERT INTO shards (name, state, pool_name) VALUES ('one', 'readonly', 'old')"),
			status.PoolNotConfigured, status.Error, []string{"pool old, with 1 shard", "shards_pools"}},
		"a pool without its marker": {
			func(t *testing.T, f *fleet) {
				expect.NoError(t, os.RemoveAll(filepath.Join(f.Config.BaseDirectory, "files", ".winery")))
			},
			status.PoolUnusable, status.Error, []string{`pool "files": `, "is the file system mounted?", "wineryctl pool list"},
		},
		"a pool of another database": {exec("UPDATE winery_pool SET uuid = gen_random_uuid()"),
			status.PoolUnusable, status.Error, []string{`pool "files": the pool's marker has UUID`}},
		"tables of an older program": {exec("UPDATE winery_version SET version = 1"),
			status.TablesMissing, status.Error, []string{"wineryctl db init"}},
		"no tables": {exec("DROP TABLE winery_version"), status.TablesMissing, status.Error, []string{"wineryctl db init"}},
		"a newer schema": {exec("INSERT INTO dbversion VALUES (6, now(), '')"),
			status.DatabaseUnreadable, status.Cannot, []string{"schema version 6", "use a newer Winery", "do what the message says"}},
		"an object to be erased": {
			both(shard("readonly", "3 days"), exec("INSERT INTO winery_erasure SELECT id, sha256('x'), now() - interval '2 days' FROM shards")),
			status.ErasureOverdue, status.Warning, []string{"pool files: 1 object in 1 image, the oldest for 2 days", "clean-deleted"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t)
			c.broken(t, f)
			r := status.Read(t.Context(), f.source)
			if c.code == "" {
				if r.Verdict != status.Well {
					t.Errorf("verdict %s: %+v", r.Verdict, r.Problems)
				}
				return
			}
			if len(r.Problems) == 0 || r.Problems[0].Code != c.code || r.Problems[0].Severity != c.severity {
				t.Fatalf("problems %+v", r.Problems)
			}
			if len(r.Problems) > 1 {
				t.Errorf("and also %+v", r.Problems[1:])
			}
			all := fmt.Sprintf("%+v", r.Problems)
			for _, words := range c.says {
				if !strings.Contains(all, words) {
					t.Errorf("no %q in %s", words, all)
				}
			}
		})
	}
}

// TestFullInAnotherPool: a packer that packs one pool does not hide that none packs the other.
func TestFullInAnotherPool(t *testing.T) {
	f := newFleet(t)
	second := roletest.Directory(t, "")
	second.Name = "second"
	f.source.Pools = append(f.source.Pools, second)
	f.source.Set = maps.Clone(f.source.Set)
	f.source.Set[second.Name] = roletest.OpenPools(t, true, second)[second.Name]
	_, _, err := storage.Init(t.Context(), f.Base, f.source.Set[second.Name])
	expect.NoError(t, err)
	pgtest.Exec(t, f.DSN, `INSERT INTO shards (name, state, pool_name, locker) VALUES
		('one', 'full', 'files', NULL), ('two', 'packing', 'files', gen_random_uuid()), ('three', 'full', 'second', NULL)`)
	pgtest.Exec(t, f.DSN, "INSERT INTO winery_lease SELECT id, locker, 'packer', 'ceph1', 1, '', now() + interval '1 hour' FROM shards WHERE locker IS NOT NULL")
	pgtest.Exec(t, f.DSN, "UPDATE winery_state SET since = now() - interval '3 hours'")
	r := status.Read(t.Context(), f.source)
	if len(r.Problems) != 1 || r.Problems[0].Code != status.FullWithoutPacker || !slices.Equal(r.Problems[0].On, []string{"pool second"}) ||
		!strings.Contains(r.Problems[0].What, "1 FULL shard waits") || !strings.Contains(r.Problems[0].Cure, "winery-packer@second") {
		t.Errorf("%+v", r.Problems)
	}
}

// TestUnreadable: a part of the database that does not answer makes the verdict
// unknown. The other parts are reported and judged.
func TestUnreadable(t *testing.T) {
	f := newFleet(t)
	pgtest.Exec(t, f.DSN, "DELETE FROM winery_process WHERE role = 'writer'")
	pgtest.Hold(t, f.DSN, "LOCK TABLE winery_erasure")
	r := status.Read(t.Context(), f.source)
	if r.Verdict != status.Unknown || len(r.Problems) != 2 || !strings.Contains(r.Database.Error, "the objects to be erased") {
		t.Fatalf("%+v", r)
	}
	if p := r.Problems[0]; p.Code != status.DatabaseUnreadable || p.Severity != status.Cannot || !strings.HasPrefix(p.What, "the objects to be erased could not be read: ") {
		t.Errorf("%+v", p)
	}
	if r.Problems[1].Code != status.NoWriter || len(r.Processes) != 3 {
		t.Errorf("%+v", r)
	}
}

// TestUnreachable: without a database nothing is judged, and the pools are listed
// nevertheless.
func TestUnreachable(t *testing.T) {
	base, err := sharedbase.New("postgresql://127.0.0.1:1/winery", "test")
	expect.NoError(t, err)
	defer base.Close()
	pool := roletest.Directory(t, "")
	r := status.Read(t.Context(), &status.Source{Base: base, Pools: []config.Pool{pool}, Set: roletest.OpenPools(t, true, pool)})
	if r.Verdict != status.Unknown || len(r.Problems) != 1 || r.Problems[0].Code != status.DatabaseUnreadable || !strings.Contains(r.Problems[0].Cure, "start PostgreSQL") || r.Database.Error == "" || strings.Contains(r.Problems[0].What, "\n") {
		t.Errorf("%+v", r)
	}
	if len(r.Pools) != 1 || r.Pools[0].State != storage.NotCompared || r.Pools[0].Error == "" {
		t.Errorf("pools %+v", r.Pools)
	}
}

// TestManyShards: the number of statements does not depend on the number of shards, and
// no statement asks for a single shard. The time is printed, and not asserted.
func TestManyShards(t *testing.T) {
	f := newFleet(t)
	var statements atomic.Int64
	base, err := sharedbase.New(f.DSN, "test", sharedbase.WithObserver(func(s sharedbase.Statement) {
		if !s.Done {
			statements.Add(1)
		}
	}))
	expect.NoError(t, err)
	defer base.Close()
	f.source.Base = base
	read := func() (int64, status.Report, time.Duration) {
		before, began := statements.Load(), time.Now()
		r := status.Read(t.Context(), f.source)
		return statements.Load() - before, r, time.Since(began)
	}
	few, _, _ := read()
	pgtest.Exec(t, f.DSN, `INSERT INTO shards (name, state, pool_name, mapped_on_hosts_when_packed)
		SELECT 'shard' || n, (CASE WHEN n % 1000 = 0 THEN 'full' WHEN n % 1000 = 1 THEN 'packed' ELSE 'readonly' END)::shard_state,
			'files', '{ceph1,ceph2,ceph3}' FROM generate_series(1, 100000) n`)
	pgtest.Exec(t, f.DSN, "ANALYZE")
	many, r, took := read()
	t.Logf("100,000 shards: %d statements in %v", many, took)
	if many != few || many > 20 {
		t.Errorf("%d statements for 100,000 shards, %d for none", many, few)
	}
	total := int64(0)
	for _, s := range r.Shards {
		total += s.Shards
	}
	if total != 100_000 || len(r.Hosts) != 3 || r.Hosts[1].Mapped != 100_000 {
		t.Errorf("%d shards, hosts %+v", total, r.Hosts)
	}
}

// TestHungPool: a store that hangs holds one thread, however often the status is read.
func TestHungPool(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	marker := filepath.Join(f.Config.BaseDirectory, f.Config.Name, ".winery", "marker")
	expect.NoError(t, os.Remove(marker))
	expect.NoError(t, unix.Mkfifo(marker, 0o600)) // reading waits for a writer
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			r := status.Read(t.Context(), f.source)
			if len(r.Problems) != 1 || r.Problems[0].Code != status.PoolUnusable || r.Pools[0].State != storage.Unavailable {
				t.Errorf("%+v", r.Problems)
			}
		})
	}
	readers.Wait()
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	if n := strings.Count(string(stacks), "directory.(*Pool).Marker"); n != 1 {
		t.Errorf("%d goroutines read the marker", n)
	}
	w, err := os.OpenFile(marker, os.O_RDWR, 0) // lets the reader open
	expect.NoError(t, err)
	expect.NoError(t, w.Close())
}
