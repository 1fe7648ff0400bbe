// SPDX-License-Identifier: GPL-3.0-or-later

package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"winery/internal/httpapi/rpc/client"
	"winery/pool"
	"winery/pool/pooltest"
	"winery/rbd"
	"winery/sharedbase"
	"winery/test/cephtest"
	"winery/test/expect"
	"winery/test/fleettest"
	"winery/test/harness"
	"winery/test/harness/relay"
	"winery/test/pgtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// host is a machine with the package installed, and what it shares with this one:
// a database, behind a relay, and a pool of Ceph.
type host struct {
	*machine
	fleet  *harness.Fleet
	src    *harness.Source
	shards []sharedbase.Shard // packed by this machine
	gone   map[[32]byte]bool  // deleted objects
	pool   string
	units  string
	relay  *relay.Relay
}

// devices is the machine's list of mapped images, each with its device.
func (h *host) devices(t *testing.T) string {
	t.Helper()
	return h.run(t, "for image in /dev/rbd/"+h.pool+"/*; do echo $image $(readlink -f $image); done")
}

// TestHost has a machine go through what an operator's does: the package is installed,
// its units serve, pack, map, clean and erase, fail and recover; the machine boots
// without PostgreSQL; the package is upgraded. The parts build on one another.
func TestHost(t *testing.T) {
	ctx, next := fleettest.Steps(t)
	part := func(t *testing.T, name string, f func(*testing.T)) {
		next()
		part(t, name, f)
	}
	ceph := cephtest.New(t)
	dsn := pgtest.New(t)
	database, relayed, err := relay.Database(dsn)
	expect.NoError(t, err)
	t.Cleanup(database.Close)
	overlay := t.TempDir()
	ports := services(t, overlay, relayed)
	src, err := harness.ReadSource(filepath.Join(runtime.GOROOT(), "src", "encoding"))
	expect.NoError(t, err)
	bin, err := filepath.Abs("../../bin")
	expect.NoError(t, err)
	f, err := harness.New(ctx, harness.Options{
		Dir: t.TempDir(), Bin: bin, DSN: dsn, CephConf: ceph.Conf, CephPool: ceph.Pool, ShardMaxSize: src.Bytes / 4,
	})
	expect.NoError(t, err)
	t.Cleanup(func() { expect.NoError(t, errors.Join(f.Close(), f.RemoveUsers(context.Background()))) })

	var shards []sharedbase.Shard // those that are packed
	part(t, "this machine packs shards into RBD", func(t *testing.T) {
		shards = pack(ctx, t, f, src)
		if len(shards) < 2 {
			t.Fatalf("%d shards are packed, want at least 2", len(shards))
		}
	})

	packages(t, overlay)
	mapper := users(t, overlay, f)
	write(t, filepath.Join(overlay, "etc/winery/winery.yml"), configuration(relayed, ceph.Pool, src.Bytes/4))
	write(t, filepath.Join(overlay, "etc/systemd/system/winery-writer.socket.d/address.conf"), "[Socket]\nListenStream=\nListenStream=10.0.2.15:5003\n")
	rules, err := os.ReadFile("../../systemd/winery.rules")
	expect.NoError(t, err)
	write(t, filepath.Join(overlay, "root/60-winery.rules"), strings.Replace(string(rules), `ATTRS{pool}=="shards"`, `ATTRS{pool}=="`+ceph.Pool+`"`, 1))
	m := boot(t, overlay, ports)
	for _, file := range []string{"first.deb", "newer.deb"} { // a reboot lays the overlay again
		expect.NoError(t, os.Remove(filepath.Join(overlay, file)))
	}
	h := &host{
		machine: m, fleet: f, src: src, shards: shards, pool: ceph.Pool, relay: database,
		units: "winery-writer winery-rbd-mapper winery-cleaner winery-packer@" + ceph.Pool,
	}
	devices := h.devices
	part(t, "the package is installed and starts nothing", h.installs)
	m.run(t, "cp /root/60-winery.rules /etc/udev/rules.d; chgrp -R winery /etc/ceph; chmod -R o= /etc/ceph; chmod 600 /etc/winery/winery.yml")

	var mapped string
	part(t, "the mapper maps them by the kernel and records the host", func(t *testing.T) {
		m.run(t, "systemctl start winery-rbd-mapper")
		mapped = devices(t)
		for _, s := range shards {
			row, err := f.Base.ShardByName(ctx, s.Name)
			expect.NoError(t, err)
			if !slices.Equal(row.MappedOn, []string{"vm"}) {
				t.Errorf("shard %s is recorded as mapped on %v, want on vm", s.Name, row.MappedOn)
			}
			if !strings.Contains(mapped, "/dev/rbd/"+ceph.Pool+"/"+s.Name+" /dev/rbd") {
				t.Errorf("shard %s has no device:\n%s", s.Name, mapped)
			}
		}
		if ro := m.run(t, "cat /sys/block/rbd*/ro"); ro != strings.Repeat("1\n", len(shards)) {
			t.Errorf("not every device is read-only:\n%s", ro)
		}
	})
	part(t, "a reader finds the hash functions that the mapper, as root, has cached", func(t *testing.T) {
		const count = "runuser -u winery -- sh -c 'cat /var/cache/winery/heads-1/*.head >/dev/null && touch /var/cache/winery/heads-1/*.head && ls /var/cache/winery/heads-1 | wc -l'"
		if got := strings.TrimSpace(m.run(t, count)); got != fmt.Sprint(len(shards)) {
			t.Errorf("%s of %d hash functions are cached", got, len(shards))
		}
	})
	part(t, "the group winery may read the devices of its pool and no others", func(t *testing.T) {
		if groups := m.run(t, "stat -Lc %G:%a /dev/rbd/"+ceph.Pool+"/* | sort -u"); groups != "winery:440\n" {
			t.Errorf("the pool's devices belong to %q", groups)
		}
		other := cephtest.New(t).Pool
		m.run(t, "rbd create --size 4M "+other+"/secret; rbd device map -o ms_mode=prefer-crc "+other+"/secret; udevadm settle")
		if group := m.run(t, "stat -Lc %G /dev/rbd/"+other+"/secret"); group == "winery\n" {
			t.Error("another pool's device belongs to it, too")
		}
		m.run(t, "rbd device unmap "+other+"/secret; rbd rm "+other+"/secret")
	})
	part(t, "it maps them again with the caps to reserve images", func(t *testing.T) {
		caps := rbd.WriteCaps(ceph.Pool, ceph.DataPool)
		m.run(t, fmt.Sprintf("systemctl stop winery-rbd-mapper; for image in /dev/rbd/%s/*; do rbd device unmap $image; done; "+
			"ceph auth caps client.%s mon '%s' osd '%s'; systemctl start winery-rbd-mapper", ceph.Pool, mapper, caps.Mon, caps.OSD))
		mapped = devices(t)
	})
	part(t, "an image that a kernel could write to is not committed, and other mappings are not hurt", func(t *testing.T) {
		device := "/dev/rbd/" + ceph.Pool + "/reserved"
		write := "dd if=/dev/urandom of=" + device + " bs=4096 count=1 oflag=direct"
		mapWritable := "rbd device map --id " + mapper + " -o ms_mode=prefer-crc " + ceph.Pool + "/reserved"
		wantInUse := func(err error) {
			t.Helper()
			if !errors.Is(err, pool.ErrInUse) || !strings.Contains(err.Error(), "a kernel that has mapped the image at ") {
				t.Errorf("got %v, want ErrInUse and the kernel's address", err)
			}
		}
		expect.NoError(t, f.Pool.Reserve(ctx, "reserved"))
		m.run(t, mapWritable+"; "+write)
		if clients := m.run(t, "sort -u /sys/bus/rbd/devices/*/client_id"); strings.Count(clients, "\n") != 1 {
			t.Fatalf("the kernel is several clients of Ceph, so this test proves nothing: %s", clients)
		}
		_, err := f.Pool.Create(ctx, "reserved", 0, pooltest.Anything{})
		wantInUse(err)
		_, err = f.Pool.Edit(ctx, "reserved", pooltest.Anything{})
		wantInUse(err)

		m.run(t, "rbd device unmap "+device)
		draft, err := f.Pool.Create(ctx, "reserved", 0, pooltest.Anything{})
		expect.NoError(t, err)
		m.run(t, "! "+mapWritable)
		written := make([]byte, 4096)
		img, err := draft.Open(ctx)
		expect.NoError(t, err)
		_, err = img.ReadAt(written, 0)
		expect.NoError(t, errors.Join(err, img.Close(), draft.Commit(ctx)))
		if !bytes.Equal(written, make([]byte, 4096)) {
			t.Error("the draft has what the kernel wrote")
		}
		m.run(t, "dd if=/dev/rbd/"+ceph.Pool+"/"+shards[0].Name+" of=/dev/null bs=4096 count=1 iflag=direct")
		expect.NoError(t, f.Pool.Remove(ctx, "reserved", pooltest.Anything{}))
	})
	part(t, "another mapper adopts what is mapped and maps what is not", func(t *testing.T) {
		m.run(t, "systemctl kill --signal KILL winery-rbd-mapper; rbd device unmap /dev/rbd/"+ceph.Pool+"/"+shards[0].Name)
		m.run(t, "systemctl reset-failed winery-rbd-mapper; systemctl restart winery-rbd-mapper")
		if again := devices(t); again != mapped {
			t.Errorf("mapped were\n%sand are\n%s", mapped, again)
		}
	})
	part(t, "a device of an image that was removed and made again is replaced", func(t *testing.T) {
		name := shards[0].Name
		id := func() string {
			return m.run(t, "cat /sys/bus/rbd/devices/$(basename $(readlink -f /dev/rbd/"+ceph.Pool+"/"+name+") | tr -d a-z)/image_id")
		}
		before := id()
		makeAgain(ctx, t, f, name)
		if id() != before {
			t.Fatal("the device follows the image by itself, so this test proves nothing")
		}
		m.run(t, "systemctl restart winery-rbd-mapper")
		if after := id(); after == before {
			t.Errorf("the device shows the removed image, with the id %s", before)
		}
		if again := m.run(t, "ls /dev/rbd/"+ceph.Pool+" | wc -l"); strings.TrimSpace(again) != strconv.Itoa(len(shards)) {
			t.Errorf("%s devices for %d images", again, len(shards))
		}
	})
	part(t, "the cleaner drops their tables", func(t *testing.T) {
		m.run(t, "systemctl start winery-cleaner")
		expect.NoError(t, f.WaitReadOnly(ctx))
	})
	part(t, "the writer reads every object through /dev/rbd", func(t *testing.T) {
		m.run(t, "systemctl start winery-writer.socket winery-writer")
		before := m.sectorsRead(t)
		rate, err := src.Compare(ctx, m.client(t), nil, func(int) {})
		expect.NoError(t, err)
		read := (m.sectorsRead(t) - before) * 512
		t.Logf("%d objects, %s; %d bytes from %d devices", rate.Objects, rate, read, len(shards))
		if read < src.Bytes/2 {
			t.Errorf("%d of %d bytes were read from the devices", read, src.Bytes)
		}
	})
	part(t, "a deleted object is erased below its mapping, and no other", func(t *testing.T) {
		h.gone = map[[32]byte]bool{inImage(ctx, t, f, src): true}
		for id := range h.gone {
			expect.NoError(t, m.client(t).Delete(ctx, id))
		}
		expect.NoError(t, harness.Until(ctx, func() (bool, error) {
			left, err := f.Base.ShardsToErase(ctx, ceph.Pool)
			return len(left) == 0, err
		}))
		_, err := src.Compare(ctx, m.client(t), h.gone, func(int) {})
		expect.NoError(t, err)
	})
	part(t, "log records have fields, and a reload changes their level", h.logsFields)
	part(t, "a restart of the writer under load refuses no connection and fails no request", h.restartsUnderLoad)
	part(t, "each failure of a role is followed by a running unit", h.recovers)
	part(t, "a wrong configuration is not tried again", func(t *testing.T) {
		m.run(t, "echo WINERY_CLEANER_FLAGS=--wibble >/etc/default/winery; systemctl kill --signal KILL winery-cleaner; "+
			"until systemctl is-failed winery-cleaner; do sleep 0.2; done")
		if status := m.run(t, "systemctl show --property ExecMainStatus --value winery-cleaner"); status != "78\n" {
			t.Errorf("a wrong flag: status %s, want 78", status)
		}
		m.run(t, "rm /etc/default/winery; systemctl start winery-cleaner")
	})
	part(t, "the machine stores, and packs what a mapper has reserved images for", func(t *testing.T) {
		m.run(t, "echo WINERY_MAPPER_FLAGS=--manage-rw-images > /etc/default/winery; systemctl restart winery-rbd-mapper")
		more, err := harness.ReadSource(filepath.Join(runtime.GOROOT(), "src", "go"))
		expect.NoError(t, err)
		_, err = more.Store(ctx, m.client(t), func(int) {})
		expect.NoError(t, err)
		full, err := f.Base.ListShards(ctx, sharedbase.ShardFilter{States: []sharedbase.ShardState{sharedbase.StateFull}})
		expect.NoError(t, err)
		if len(full) == 0 {
			t.Fatal("no shard is full")
		}
		for _, s := range full {
			m.run(t, "until [ -b /dev/rbd/"+ceph.Pool+"/"+s.Name+" ]; do sleep 0.2; done")
		}
		m.run(t, "systemctl start winery-packer@"+ceph.Pool)
		for _, s := range full {
			m.run(t, "until [ \"$(blockdev --getro /dev/rbd/"+ceph.Pool+"/"+s.Name+")\" = 1 ]; do sleep 0.2; done")
		}
	})
	part(t, "the machine boots without PostgreSQL, and every unit runs once it answers", h.bootsWithoutDatabase)
	part(t, "an upgrade under load, and back, refuses no connection and fails no request", h.upgradesUnderLoad)
	part(t, "every unit ends well", func(t *testing.T) {
		m.run(t, "systemctl stop winery-writer.socket "+h.units)
		if results := m.run(t, "systemctl show --property Result --value "+h.units+" | sort -u"); strings.TrimSpace(results) != "success" {
			t.Errorf("they ended with %s\n%s", results, m.run(t, "journalctl --no-pager --lines 50 --unit 'winery-*'"))
		}
	})
	part(t, "removal stops every unit, and purge leaves nothing but the user", h.isRemoved)
}

// inImage gives an object of src that is in an image.
func inImage(ctx context.Context, t *testing.T, f *harness.Fleet, src *harness.Source) [32]byte {
	t.Helper()
	ids := slices.Collect(maps.Keys(src.Paths))
	at, err := f.Base.Locate(ctx, ids)
	expect.NoError(t, err)
	i := slices.IndexFunc(at, func(l sharedbase.Location) bool { return l.State == sharedbase.StateReadOnly })
	if i < 0 {
		t.Fatal("no object is in an image")
	}
	return ids[i]
}

// makeAgain removes an image and makes another one, with another id, of its name
// and content.
func makeAgain(ctx context.Context, t *testing.T, f *harness.Fleet, name string) {
	t.Helper()
	img, err := f.Pool.Open(ctx, name)
	expect.NoError(t, err)
	content := make([]byte, img.Size())
	_, err = img.ReadAt(content, 0)
	expect.NoError(t, errors.Join(err, img.Close(), f.Pool.Remove(ctx, name, pooltest.Anything{})))
	draft, err := f.Pool.Create(ctx, name, 0, pooltest.Anything{})
	expect.NoError(t, err)
	_, err = draft.WriteAt(content, 0)
	expect.NoError(t, errors.Join(err, draft.Commit(ctx)))
}

// pack stores src through a writer on the host, and packs what is full.
func pack(ctx context.Context, t *testing.T, f *harness.Fleet, src *harness.Source) []sharedbase.Shard {
	t.Helper()
	fill(ctx, t, f, src)
	packFull(ctx, t, f)
	shards, err := f.Base.ListShards(ctx, sharedbase.ShardFilter{States: []sharedbase.ShardState{sharedbase.StatePacked}})
	expect.NoError(t, err)
	return shards
}

func fill(ctx context.Context, t *testing.T, f *harness.Fleet, src *harness.Source) {
	t.Helper()
	writer, err := f.StartWriter(ctx)
	expect.NoError(t, err)
	_, err = src.Store(ctx, f.Client, func(int) {})
	expect.NoError(t, err)
	expect.NoError(t, writer.Stop())
}

func packFull(ctx context.Context, t *testing.T, f *harness.Fleet) {
	t.Helper()
	packer, err := f.Start(harness.Packer, "--stop-instead-of-waiting")
	expect.NoError(t, err)
	expect.NoError(t, fleettest.Ended(ctx, t, packer))
}

// users gives each unit its users of the database and of Ceph, as docs/operations.md
// says. It returns the mapper's user of Ceph.
func users(t *testing.T, overlay string, f *harness.Fleet) (mapper string) {
	t.Helper()
	for unit, program := range map[string]string{
		"winery-writer": harness.Writer, "winery-packer@": harness.Packer, "winery-rbd-mapper": harness.Mapper, "winery-cleaner": harness.Cleaner,
	} {
		o, _ := f.For(program)
		dsn, err := url.Parse(o.DSN)
		expect.NoError(t, err)
		password, _ := dsn.User.Password()
		write(t, filepath.Join(overlay, "etc/systemd/system", unit+".service.d", "users.conf"), fmt.Sprintf(
			"[Service]\nEnvironment=PGUSER=%s PGPASSWORD=%s CEPH_ARGS=--id=%s\n", dsn.User.Username(), password, o.CephUser))
		place(t, o.CephConf+".keyring", filepath.Join(overlay, "etc/ceph/ceph.client."+o.CephUser+".keyring"))
		if program == harness.Mapper {
			mapper = o.CephUser
		}
	}
	return mapper
}

// configuration is the machine's: Ceph as its tools find it, mapped by the kernel.
func configuration(dsn, poolName string, shardMaxSize int64) string {
	_, server, _ := strings.Cut(dsn, "@")
	dsn = "postgresql://" + server
	return fmt.Sprintf(`objstorage:
  cls: winery
  database: {db: %q}
  shards_pools:
    - {type: rbd, map: kernel, pool_name: %s, shard_max_size: %d}
  shards_active_pool: %s
  allow_delete: true
winery: {listen: "10.0.2.15:5003", allow_unprotected_network: true, hash_cache: {directory: /var/cache/winery}}
`, dsn, poolName, shardMaxSize, poolName)
}

// client talks to the machine's writer.
func (m *machine) client(t *testing.T) *client.Client {
	t.Helper()
	c, err := client.New("http://" + m.writer)
	expect.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// sectorsRead is how many sectors the kernel has read from all its rbd devices.
func (m *machine) sectorsRead(t *testing.T) int64 {
	t.Helper()
	sum := m.run(t, "cat /sys/block/rbd*/stat | awk '{ sum += $3 } END { print sum }'")
	n, err := strconv.ParseInt(strings.TrimSpace(sum), 10, 64)
	expect.NoError(t, err)
	return n
}

// part runs a part of a test that the later ones need.
func part(t *testing.T, name string, f func(*testing.T)) {
	t.Helper()
	if !t.Run(name, f) {
		t.FailNow()
	}
}
