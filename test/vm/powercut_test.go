// SPDX-License-Identifier: GPL-3.0-or-later

package vm

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"winery/internal/httpapi/rpc/client"
	"winery/test/corrupt"
	"winery/test/expect"
)

// cutsEnv names the environment variable for how often TestPowerCut cuts the
// power. Default: once.
const cutsEnv = "WINERY_TEST_POWER_CUTS"

// powerCutConfiguration is of a machine that has its database and its pool on one
// disk. Shards are small, so that at each moment some are packed and cleaned.
const powerCutConfiguration = `objstorage:
  cls: winery
  database: {db: "postgresql://winery@/postgres?host=/srv/postgresql"}
  shards_pools:
    - {type: directory, pool_name: shards, shard_max_size: 300000, base_directory: /srv/winery}
  shards_active_pool: shards
  allow_delete: true
winery: {listen: "10.0.2.15:5003", allow_unprotected_network: true, lease: 30}
`

// startDatabase mounts the disk and starts PostgreSQL on it, as durable as in
// production, creating the cluster at the first boot.
const startDatabase = `systemd-sysusers
	chown winery: /etc/winery/winery.yml
	mount -t ext4 /dev/vdb /srv
	cd /srv
	bin=$(echo /usr/lib/postgresql/*/bin)
	if [ ! -e postgresql/ready ]; then
		install -d -o postgres -m 755 postgresql
		install -d -o winery -g winery winery winery/shards
		install -d -o postgres -m 700 postgresql/data
		runuser -u postgres -- $bin/initdb -D postgresql/data -U winery -A trust -E UTF8 --locale C.UTF-8 >/dev/null
		printf '%s\n' "listen_addresses = ''" "unix_socket_directories = '/srv/postgresql'" "shared_buffers = 64MB" >>postgresql/data/postgresql.conf
		touch postgresql/ready
		sync
	fi
	runuser -u postgres -- $bin/pg_ctl -D postgresql/data -l postgresql/log -w -t 120 start >/dev/null </dev/null || {
		tail -n 20 postgresql/log
		exit 1
	}`

const (
	initWinery   = "runuser -u winery -- wineryctl --config /etc/winery/winery.yml db init"
	startWinery  = "systemctl start winery-writer winery-rbd-mapper winery-packer@all winery-cleaner"
	cleanedShard = `until runuser -u postgres -- psql -h /srv/postgresql -U winery -d postgres -Atc "
		SELECT 1 FROM shards WHERE state = 'readonly'" | grep -q 1; do sleep 0.2; done`
	shardStates = `runuser -u postgres -- psql -h /srv/postgresql -U winery -d postgres -Atc "
		SELECT string_agg(n || ' ' || state, ', ' ORDER BY state) FROM (SELECT state, count(*) n FROM shards GROUP BY state) s"`
)

// TestPowerCut cuts the power of a machine that runs PostgreSQL and all roles on a
// directory pool under load, at random moments. Its disk keeps what was flushed,
// and of the rest what had reached it; its page cache is lost. After each cut
// everything that was acknowledged is read, and the next round of load begins.
func TestPowerCut(t *testing.T) {
	cuts := 1
	if text := os.Getenv(cutsEnv); text != "" {
		var err error
		cuts, err = strconv.Atoi(text)
		expect.NoError(t, err)
	}
	random := corrupt.Random(t)
	disk := filepath.Join(t.TempDir(), "disk")
	expect.NoError(t, os.WriteFile(disk, nil, 0o600))
	expect.NoError(t, os.Truncate(disk, 4<<30))
	if out, err := exec.CommandContext(t.Context(), "/sbin/mke2fs", "-q", "-t", "ext4", disk).CombinedOutput(); err != nil {
		t.Fatalf("mke2fs: %v: %s", err, out)
	}
	bin, err := filepath.Abs("../../bin")
	expect.NoError(t, err)
	start := func(t *testing.T, first bool) (*machine, *client.Client) {
		overlay := t.TempDir()
		programs(t, overlay, bin)
		write(t, filepath.Join(overlay, "etc/winery/winery.yml"), powerCutConfiguration)
		m := boot(t, overlay, nil, disk)
		m.run(t, startDatabase)
		if first {
			m.run(t, initWinery)
		}
		m.run(t, startWinery)
		return m, m.client(t)
	}

	l := newLedger()
	m, c := start(t, true)
	for cut := range cuts {
		ctx, stop := context.WithTimeout(t.Context(), 5*time.Minute)
		loaded := make(chan struct{})
		go func(c *client.Client, seed uint64) {
			defer close(loaded)
			l.load(ctx, c, seed)
		}(c, random.Uint64())
		expect.NoError(t, l.waitFor(ctx, 50+random.IntN(300)))
		m.run(t, cleanedShard) // every role does its work
		m.cutPower()
		stop()
		<-loaded

		m, c = start(t, false)
		states := strings.TrimSpace(m.run(t, shardStates))
		if err := l.check(t.Context(), c); err != nil {
			t.Fatalf("after power cut %d (shards: %s): %v", cut+1, states, err)
		}
		t.Logf("power cut %d: shards were %s; %d stored and %d deleted objects are as acknowledged", cut+1, states, len(l.stored), len(l.deleted))
	}
	m.run(t, "systemctl stop winery-writer winery-rbd-mapper winery-packer@all winery-cleaner")
	t.Log(strings.TrimSpace(m.run(t, "runuser -u winery -- wineryctl --config /etc/winery/winery.yml verify 2>&1 | tail -n 1")))
}

// programs lays the fleet and its units into overlay.
func programs(t *testing.T, overlay, bin string) {
	t.Helper()
	expect.NoError(t, os.CopyFS(filepath.Join(overlay, "usr/bin"), os.DirFS(bin)))
	units, err := filepath.Glob("../../systemd/*.service")
	expect.NoError(t, err)
	for _, unit := range append(units, "../../systemd/winery.target") {
		place(t, unit, filepath.Join(overlay, "etc/systemd/system", filepath.Base(unit)))
	}
	place(t, "../../systemd/winery.sysusers", filepath.Join(overlay, "etc/sysusers.d/winery.conf"))
}

func place(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	expect.NoError(t, err)
	write(t, to, string(text))
}
