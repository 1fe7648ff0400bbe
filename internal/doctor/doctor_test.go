// SPDX-License-Identifier: GPL-3.0-or-later

package doctor_test

import (
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"winery/internal/config"
	"winery/internal/doctor"
	"winery/internal/status"
	"winery/internal/storage"
	"winery/sharedbase"
	"winery/test/cephtest"
	"winery/test/certtest"
	"winery/test/dbusers"
	"winery/test/expect"
	"winery/test/harness/relay"
	"winery/test/pgtest"
	"winery/test/roletest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patient is long enough for the busiest machine, impatient for what does not hang.
const patient, impatient = time.Minute, 10 * time.Second

// healthy is a database and a pool that belong to each other, before anything is broken.
func healthy(t *testing.T, pool config.Pool) (doctor.Subject, *roletest.Stage) {
	t.Helper()
	stage := roletest.New(t, pool)
	_, _, err := storage.Init(t.Context(), stage.Base, stage.Pool)
	expect.NoError(t, err)
	s := doctor.Subject{
		Config: &config.Config{Pools: []config.Pool{pool}, ReadersCacheSize: 1000, Winery: config.Winery{DatabaseConnections: 24}},
		Pools:  roletest.OpenPools(t, true, pool), Roles: doctor.Roles, Patience: patient,
	}
	connect(t, &s, stage.DSN)
	expect.Eventually(t, "the store to know its size", func() bool { _, err := stage.Pool.Space(t.Context()); return err == nil })
	return s, stage
}

// connect makes dsn the database of a subject.
func connect(t *testing.T, s *doctor.Subject, dsn string) {
	t.Helper()
	base, err := sharedbase.New(dsn, "test")
	expect.NoError(t, err)
	t.Cleanup(base.Close)
	s.Config.Database.DSN, s.Base = dsn, base
}

// notWell are the results that are not ok. The settings of the server of the tests are left
// out: they may be unsafe.
func notWell(r doctor.Report) []doctor.Result {
	return slices.DeleteFunc(slices.Clone(r.Checks), func(r doctor.Result) bool {
		return r.State == doctor.OK || r.Check == "settings" && strings.HasPrefix(r.What, "fsync is off")
	})
}

// want fails unless the results that are not ok are one of that check, with words of its text and of its cure.
func want(t *testing.T, s doctor.Subject, check string, state doctor.State, says, cure string) {
	t.Helper()
	bad := notWell(doctor.Run(t.Context(), s))
	if len(bad) != 1 || bad[0].Check != check || bad[0].State != state || !strings.Contains(bad[0].What, says) || !strings.Contains(bad[0].Cure, cure) {
		t.Errorf("expected %s %s with %q, cure %q; found %+v", state, check, says, cure, bad)
	}
}

// TestBroken breaks one thing after the other: each is found, with its cure, and nothing else.
func TestBroken(t *testing.T) {
	process := func(host string) string {
		return `INSERT INTO winery_process (id, role, host, pid, version, lease, last_seen, status, failing, boot)
			SELECT gen_random_uuid(), 'packer', '` + host + `', 1, '1.0', '1 min', now() + interval '1 hour', '', false, n::text FROM generate_series(1, 60) n`
	}
	for name, c := range map[string]struct {
		sql        string
		check      string
		state      doctor.State
		says, cure string
	}{
		"another schema":        {"INSERT INTO dbversion VALUES (6, now(), '')", "schema", doctor.Failed, "schema version 6", "message"},
		"no tables":             {"UPDATE winery_version SET version = 1", "schema", doctor.Failed, "lacks tables winery_*", "wineryctl db init"},
		"clock":                 {`CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT pg_catalog.now() + interval '1 hour' $$; DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = public, pg_catalog', current_database()); END $$`, "clock", doctor.Warning, "ahead of this host's", "timedatectl"},
		"connections":           {process("h' || n || '"), "connections", doctor.Warning, "61 processes with up to 24 connections each may need 1464", "max_connections"},
		"leases":                {process("h' || n || '") + " LIMIT 2; UPDATE winery_process SET lease = '10 s' WHERE boot = '1'", "leases", doctor.Warning, "different settings of winery.lease: lease 10s: packer on h1", "winery.lease"},
		"versions":              {process("h' || n || '") + " LIMIT 2; UPDATE winery_process SET version = '2.0' WHERE boot = '1'", "versions", doctor.Warning, "version 2.0: packer on h1", "/usr/share/doc/winery/versions.md"},
		"a host name twice":     {process("h") + " LIMIT 2", "host_names", doctor.Warning, "packer on h (pid 1), and another machine", "hostnamectl"},
		"an unconfigured pool":  {"INSERT INTO shards (name, state, pool_name) VALUES ('one', 'readonly', 'old')", "configured_pools", doctor.Failed, "pool old, with 1 shard", "shards_pools"},
		"another database":      {"UPDATE winery_pool SET uuid = gen_random_uuid()", "marker", doctor.Failed, "the pool's marker has UUID", "wineryctl pool list"},
		"a pool without marker": {"", "marker", doctor.Failed, "is the file system mounted?", "wineryctl pool list"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, stage := healthy(t, roletest.Directory(t, ""))
			if c.sql == "" {
				expect.NoError(t, os.RemoveAll(filepath.Join(stage.Config.BaseDirectory, stage.Config.Name, ".winery")))
			} else {
				pgtest.Exec(t, stage.DSN, c.sql)
			}
			want(t, s, c.check, c.state, c.says, c.cure)
		})
	}
}

// TestSettings: settings of the server by which objects can be lost are found.
func TestSettings(t *testing.T) {
	s, stage := healthy(t, roletest.Directory(t, ""))
	pgtest.Exec(t, stage.DSN, "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database()); END $$")
	r := doctor.Run(t.Context(), s)
	i := slices.IndexFunc(r.Checks, func(r doctor.Result) bool { return r.Check == "settings" })
	if got := r.Checks[i]; got.State != doctor.Warning || !strings.Contains(got.What, "synchronous_commit is off: a crash or a failover loses acknowledged objects") || !strings.Contains(got.Cure, "ALTER DATABASE") {
		t.Errorf("%+v", got)
	}
}

// TestCompression: a database that Python Winery made is slower than it can be.
func TestCompression(t *testing.T) {
	s, stage := healthy(t, roletest.Directory(t, ""))
	pgtest.Exec(t, stage.DSN, "ALTER TABLE shard_template ALTER content SET COMPRESSION pglz")
	want(t, s, "compression", doctor.Warning, "contents are compressed by pglz", "wineryctl db tune")
}

// TestRights: what the database user of a role lacks is named.
func TestRights(t *testing.T) {
	s, stage := healthy(t, roletest.Directory(t, ""))
	users := dbusers.New(t, stage.DSN, sharedbase.GrantOptions{})
	for _, role := range doctor.Roles {
		connect(t, &s, users.DSN(role))
		s.Roles = []string{role}
		if bad := notWell(doctor.Run(t.Context(), s)); len(bad) != 0 {
			t.Errorf("%s, with the rights of `db grants`: %+v", role, bad)
		}
	}
	connect(t, &s, users.DSN(sharedbase.UserPacker))
	s.Roles = []string{"writer"}
	want(t, s, "rights", doctor.Failed, "_packer lacks rights: writer EXECUTE ON winery_create_table(text, uuid); writer INSERT ON shards;", "wineryctl db grants | psql DATABASE")
}

// TestHost: what is wrong on the host is found.
func TestHost(t *testing.T) {
	s, stage := healthy(t, roletest.Directory(t, ""))
	if bad := notWell(doctor.Run(t.Context(), s)); len(bad) != 0 {
		t.Fatalf("a healthy host: %+v", bad)
	}
	small := *s.Config
	s.Config = &small

	small.Pools = []config.Pool{stage.Config}
	small.Pools[0].ShardMaxSize = 1 << 60
	want(t, s, "space", doctor.Warning, "a shard has up to 1.0 EiB", "shards_active_pool")
	small.Pools[0].ShardMaxSize = 1

	small.ReadersCacheSize = 1 << 40
	want(t, s, "open_files", doctor.Warning, "open files", "LimitNOFILE=")
	small.ReadersCacheSize = 1000

	small.Winery.Access = "/nosuch/access.yml"
	want(t, s, "clients", doctor.Failed, "/nosuch/access.yml: no such file", "wineryctl access check /nosuch/access.yml")
	s.Roles = []string{"packer"}
	if bad := notWell(doctor.Run(t.Context(), s)); len(bad) != 0 {
		t.Errorf("a packer has no clients: %+v", bad)
	}
	s.Roles, small.Winery.Access = doctor.Roles, ""

	dir := t.TempDir()
	small.Winery.TLS = config.TLS{Certificate: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	want(t, s, "clients", doctor.Failed, "cert.pem", "winery.tls")
	certtest.New(t).Server(small.Winery.TLS.Certificate, small.Winery.TLS.Key)
	want(t, s, "clients", doctor.Warning, "the certificate is valid until", "systemctl reload winery-writer")
}

// TestDriver: the kernel's driver is needed where a pool's images are mapped by it, and a role reads them.
func TestDriver(t *testing.T) {
	s, stage := healthy(t, roletest.RBD(t))
	s.Config.Pools[0].Map = config.MapKernel
	doctor.SetRBDBus(t, "/nosuch")
	modprobe := filepath.Join(t.TempDir(), "modprobe")
	t.Setenv("PATH", filepath.Dir(modprobe)+":"+os.Getenv("PATH"))
	expect.NoError(t, os.WriteFile(modprobe, []byte("#!/bin/sh\nexit 1"), 0o700))
	want(t, s, "rbd_driver", doctor.Failed, "driver is not loaded", "modprobe rbd")
	for _, role := range doctor.Roles {
		err := doctor.Usable(t.Context(), patient, role, s.Config.Pools[0], stage.Pool)
		if refused := err != nil; refused != (role == "writer" || role == "mapper") {
			t.Errorf("%s: %v", role, err)
		}
	}
	expect.NoError(t, os.WriteFile(modprobe, []byte("#!/bin/sh\n[ \"$*\" = '--dry-run --quiet rbd' ]"), 0o700))
	r := doctor.Run(t.Context(), s)
	i := slices.IndexFunc(r.Checks, func(r doctor.Result) bool { return r.Check == "rbd_driver" })
	if got := r.Checks[i]; got.State != doctor.OK || !strings.Contains(got.What, "is loaded when winery-rbd-mapper or winery-writer starts") {
		t.Errorf("before the roles start: %+v", got)
	}
	if err := doctor.Usable(t.Context(), patient, "mapper", s.Config.Pools[0], stage.Pool); err == nil {
		t.Error("a mapper starts without the driver")
	}
	doctor.SetRBDBus(t, t.TempDir())
	if bad := notWell(doctor.Run(t.Context(), s)); len(bad) != 0 {
		t.Errorf("with the driver: %+v", bad)
	}
}

// TestCaps: a Ceph user that may only read is enough for the roles that read.
func TestCaps(t *testing.T) {
	s, stage := healthy(t, roletest.RBD(t))
	c := stage.Config
	c.CephConf, c.CephUser = cephtest.User(t, "profile rbd", "profile rbd-read-only pool="+c.Name+", profile rbd-read-only pool="+c.DataPool)
	s.Pools = roletest.OpenPools(t, true, c)
	want(t, s, "access", doctor.Failed, "Ceph does not let client."+c.CephUser+" write to pool "+c.Name, "ceph auth caps client."+c.CephUser)
	for _, role := range doctor.Roles {
		err := doctor.Usable(t.Context(), patient, role, c, s.Pools[c.Name])
		if refused := err != nil; refused != (role == "packer" || role == "cleaner") {
			t.Errorf("%s: %v", role, err)
		}
	}
	s.Roles = []string{"writer", "mapper"}
	if bad := notWell(doctor.Run(t.Context(), s)); len(bad) != 0 {
		t.Errorf("of roles that read: %+v", bad)
	}
}

// TestImageOfAnotherUser: the folder of images may be open to the writer, and an image not,
// as after a move from Python Winery, which has another user.
func TestImageOfAnotherUser(t *testing.T) {
	s, stage := healthy(t, roletest.Directory(t, ""))
	image := filepath.Join(stage.Config.BaseDirectory, stage.Config.Name, "one")
	expect.NoError(t, os.WriteFile(image, nil, 0o400))
	s.Pools[stage.Config.Name] = &roletest.Hooked{Pool: stage.Pool, At: func(point roletest.Point, name string) error {
		if point == roletest.OpenMapped {
			return &fs.PathError{Op: "open", Path: name, Err: unix.EACCES} // as for a user who is not root
		}
		return nil
	}}
	want(t, s, "access", doctor.Failed, "is not allowed to read a mapped image: ", "User= of the units")
	s.Roles = []string{"packer", "cleaner"}
	if bad := notWell(doctor.Run(t.Context(), s)); len(bad) != 0 {
		t.Errorf("of roles that do not read it: %+v", bad)
	}
}

// TestUnencrypted: a connection over the network without TLS is found.
func TestUnencrypted(t *testing.T) {
	s, stage := healthy(t, roletest.Directory(t, ""))
	u, err := url.Parse(stage.DSN)
	expect.NoError(t, err)
	u.Host = forward(t, u.Host)
	connect(t, &s, u.String())
	want(t, s, "encryption", doctor.Warning, "without TLS", "sslmode=verify-full")
}

// forward passes connections to a network interface of this host on to server.
func forward(t *testing.T, server string) (address string) {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	expect.NoError(t, err)
	i := slices.IndexFunc(addresses, func(a net.Addr) bool {
		n, ok := a.(*net.IPNet)
		return ok && n.IP.IsGlobalUnicast()
	})
	if i < 0 {
		t.Fatal("this host has no network interface")
	}
	l, err := net.Listen("tcp", net.JoinHostPort(addresses[i].(*net.IPNet).IP.String(), "0"))
	expect.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", server)
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(to, from); _ = to.Close() }()
			go func() { _, _ = io.Copy(from, to); _ = from.Close() }()
		}
	}()
	return l.Addr().String()
}

// TestNoDatabase: without a database that answers, the pools are checked nevertheless. A
// database that is frozen makes no check wait longer than the patience.
func TestNoDatabase(t *testing.T) {
	for name, c := range map[string]struct {
		broken func(*testing.T, *doctor.Subject)
		says   string
	}{
		"refused": {func(t *testing.T, s *doctor.Subject) { connect(t, s, "postgresql://127.0.0.1:1/winery") }, "connection refused"},
		"frozen": {func(t *testing.T, s *doctor.Subject) {
			r, dsn, err := relay.Database(s.Config.Database.DSN)
			expect.NoError(t, err)
			t.Cleanup(r.Close)
			connect(t, s, dsn)
			_, err = s.Base.Ping(t.Context())
			expect.NoError(t, err)
			r.Hold()
			t.Cleanup(r.Resume)
			s.Patience = impatient
		}, "no answer after 10s"},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := healthy(t, roletest.Directory(t, ""))
			c.broken(t, &s)
			r := doctor.Run(t.Context(), s)
			if r.Verdict != status.Unknown {
				t.Errorf("verdict %s", r.Verdict)
			}
			for _, result := range r.Checks {
				state, says, cure := doctor.Unknown, "the database does not answer", "see the check of the database"
				switch result.Check {
				case "open_files", "rbd_driver", "clients", "access", "space":
					state, says, cure = doctor.OK, "", ""
				case "database":
					says, cure = c.says, "start PostgreSQL"
				}
				if result.State != state || !strings.Contains(result.What, says) || !strings.Contains(result.Cure, cure) {
					t.Errorf("%+v", result)
				}
			}
		})
	}
}

// TestHungPool: a pool that hangs is a line, and the other checks are made.
func TestHungPool(t *testing.T) {
	s, stage := healthy(t, roletest.Directory(t, ""))
	marker := filepath.Join(stage.Config.BaseDirectory, stage.Config.Name, ".winery", "marker")
	expect.NoError(t, os.Remove(marker))
	expect.NoError(t, unix.Mkfifo(marker, 0o600)) // reading waits for a writer
	s.Patience = impatient
	want(t, s, "marker", doctor.Unknown, "no answer after 10s", "start the OSDs of Ceph, or the server of the file system")
	f, err := os.OpenFile(marker, os.O_RDWR, 0) // lets the reader open
	expect.NoError(t, err)
	expect.NoError(t, f.Close())
}
