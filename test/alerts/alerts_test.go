// SPDX-License-Identifier: GPL-3.0-or-later

// Package alerts breaks a fleet of real processes, and sees that a real Prometheus
// raises the alerts of deploy/prometheus; and that it raises none while all is well.
// deploy/grafana is tested here, too: each query of the dashboard must return data.
//
// It needs the programs in bin/ (make build), and root, who may mount a file system.
package alerts

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"winery/test/certtest"
	"winery/test/expect"
	"winery/test/harness"
	"winery/test/pgtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shortened are the durations of the rules that are replaced, so that an alert fires
// within seconds.
var shortened = []struct{ long, short string }{
	{`(?m)^        for: \w+$`, "        for: 1s"},
	{`\[(?:5m|10m|1h|2d)\]`, "[20s]"},
	{`offset 7d`, "offset 5s"},
	{`winery_stalled_seconds > 60`, "winery_stalled_seconds > 3"},
}

func shortRules(t *testing.T) string {
	t.Helper()
	rules, err := os.ReadFile(rulesFile)
	expect.NoError(t, err)
	for _, d := range shortened {
		long := regexp.MustCompile(d.long)
		if !long.Match(rules) {
			t.Fatalf("the rules do not have %s", d.long)
		}
		rules = long.ReplaceAll(rules, []byte(d.short))
	}
	file := filepath.Join(t.TempDir(), "winery.rules.yml")
	expect.NoError(t, os.WriteFile(file, rules, 0o600))
	return file
}

// fault is what happens to the fleet, and the alerts that must follow.
type fault struct {
	what       string
	alerts     []string
	begin, end func() // may be nil: so it is from the start of the fleet, or it ends with another
}

// TestAlerts breaks one thing after the other, and prints how long each alert took.
// At the end, everything is repaired, and no alert is left.
func TestAlerts(t *testing.T) {
	s := newStage(t, shortRules(t), 8*time.Minute)
	// a, b and c are in images alone; hung and damaged have tables, too, and damaged is
	// not mapped; full waits for a packer.
	a, b, c := s.fill(), s.fill(), s.fill()
	s.runToEnd(harness.Packer, harness.Mapper, harness.Cleaner)
	hung := s.fill()
	s.runToEnd(harness.Packer, harness.Mapper)
	damaged := s.fill()
	s.runToEnd(harness.Packer)
	full := s.fill()

	dir := t.TempDir()
	ca := certtest.New(t)
	certificate, key, access := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "access.yml")
	ca.ServerUntil(certificate, key, time.Now().AddDate(0, 0, 1))
	permit(t, access, time.Now())
	built := s.buildOldWriter()
	stopReading := s.read(a.id)
	defer stopReading()

	filler := filepath.Join(s.images, "filler")
	marker := filepath.Join(s.images, harness.PoolName, ".winery")
	var protected, killed, old *harness.Process
	var answer, unlock func()
	var last shard
	s.during([]fault{
		{"the TLS certificate expires tomorrow", []string{"WineryCertificateExpires"}, func() {
			protected = s.writerWith(fmt.Sprintf("  tls: {certificate: %q, key: %q}\n  access: %q\n", certificate, key, access))
		}, func() {
			ca.ServerUntil(certificate, key, time.Now().AddDate(1, 0, 0))
		}},
		{"the access of a client expires today", []string{"WineryAccessExpires"}, nil, func() {
			permit(t, access, time.Now().AddDate(1, 0, 0))
			expect.NoError(t, protected.Signal(syscall.SIGHUP))
		}},
		{"no packer and no cleaner runs", []string{"WineryNoPackerWorks", "WineryRoleGone"}, nil, nil},
		{"a shard has been FULL for 5 hours", []string{"WineryFullShardsWait"}, func() { s.age(full, "5 hours") }, nil},
		{"a shard has been PACKED for 7 hours", []string{"WineryPackedShardsWait"}, func() { s.age(hung, "7 hours") }, nil},
		{"an object was deleted 2 days ago, and not erased", []string{"WineryObjectsUnerased"}, func() {
			expect.NoError(t, s.Client.Delete(s.ctx, c.id))
			s.age(c, "3 days")
			s.exec("UPDATE winery_deletion SET at = at - interval '2 days'")
		}, nil},
		{"an image was verified 181 days ago", []string{"WineryVerificationOld"}, func() {
			s.exec("UPDATE winery_verification SET at = at - interval '181 days' WHERE shard = " + a.number())
		}, nil},
		{"an image was never verified", []string{"WineryNeverVerified"}, func() {
			s.exec("DELETE FROM winery_verification WHERE shard = " + b.number())
		}, nil},
		{"an image is damaged", []string{"WineryShardQuarantined"}, func() {
			damage(t, s.image(damaged))
			s.start(harness.Mapper)
		}, func() {
			s.ctl("verify", "--repair", "--shard", damaged.name)
			s.ctl("verify")
		}},
		{"a process of another version runs", []string{"WineryVersionsDiffer"}, func() {
			old = s.startOldWriter(built)
		}, func() { expect.NoError(t, old.Stop()) }},
	})
	s.during([]fault{
		{"the pool is full", []string{"WineryPoolNearlyFull", "WineryPoolFillsUp", "WineryRoleFailing"}, func() {
			s.fillPool(filler)
			killed = s.start(harness.Packer)
		}, func() { expect.NoError(t, os.Remove(filler)) }},
		{"two images do not answer", []string{"WineryReadsRefused", "WineryRoleStalled"}, func() {
			answer = hang(t, s.image(b), s.image(hung))
			t.Cleanup(s.read(b.id))
			s.start(harness.Cleaner)
		}, func() { answer() }},
		{"a process is started again and again", []string{"WineryProcessRestarts"}, func() { s.restart(harness.Mapper, "WineryProcessRestarts") }, nil},
		{"a table of Winery is missing", []string{"WineryStatisticsMissing"}, func() {
			s.exec("ALTER TABLE winery_verification RENAME TO gone")
		}, func() { s.exec("ALTER TABLE gone RENAME TO winery_verification") }},
	})
	s.during([]fault{
		{"the marker of a pool is gone", []string{"WineryPoolUnavailable"}, func() {
			expect.NoError(t, os.Rename(marker, marker+".gone"))
		}, func() { expect.NoError(t, os.Rename(marker+".gone", marker)) }},
		{"a process was killed", []string{"WineryProcessGone"}, func() { expect.NoError(t, killed.Kill()) }, func() { s.start(harness.Packer) }},
		{"the network to PostgreSQL is cut", []string{"WineryDatabaseUnavailable", "WineryRequestsFailing"}, s.network.Cut, s.network.Join},
	})
	s.during([]fault{
		{"the only writer waits for the marker of its pool", []string{"WineryNoWriter"}, func() {
			expect.NoError(t, os.Rename(marker, marker+".gone"))
			waiting := s.start(harness.Writer, "--listen", "127.0.0.1:0")
			s.scraped(waiting, "")
			s.stopAll(harness.Writer, waiting)
		}, func() {
			expect.NoError(t, os.Rename(marker+".gone", marker))
			s.startWriter()
		}},
	})
	s.during([]fault{
		{"the writers were stopped", []string{"WineryNoWriter"}, func() {
			last = s.add(1000)
			s.stopAll(harness.Writer)
		}, s.startWriter},
		{"another process takes a shard from its packer, again and again", []string{"WineryLeasesLost"}, func() {
			s.stopAll(harness.Packer)
			s.ctl("shards", "seal", last.name)
			unlock = pgtest.Hold(t, s.dsn, "LOCK TABLE shard_"+last.name) // the packer waits for the table
			s.scraped(s.start(harness.Packer), "")
			for !s.firing()["WineryLeasesLost"] {
				pgtest.Until(t, s.dsn, "SELECT state = 'packing' FROM shards WHERE id = "+last.number())
				s.exec("UPDATE shards SET state = 'full', locker = NULL WHERE id = " + last.number())
			}
		}, func() { unlock() }},
	})
	s.during([]fault{
		{"the clock of PostgreSQL is a minute ahead", []string{"WineryClockDiffers"}, func() {
			s.exec("CREATE SCHEMA wrong; GRANT USAGE ON SCHEMA wrong TO PUBLIC") // for the users of the roles
			s.exec("CREATE FUNCTION wrong.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT pg_catalog.clock_timestamp() + interval '1 min' $$")
			s.searchPath("SET search_path = public, wrong, pg_catalog")
		}, func() { s.searchPath("RESET search_path") }},
	})
	repaired := time.Now()
	s.silent(alertNames(t)...)
	t.Logf("everything is repaired → no alert fires %3.0f s", time.Since(repaired).Seconds())
	for _, name := range alertNames(t) {
		if !s.fired[name] {
			t.Errorf("no fault leads to %s", name)
		}
	}
}

// permit writes an access file with a client whose access expires.
func permit(t *testing.T, file string, expires time.Time) {
	t.Helper()
	expect.NoError(t, os.WriteFile(file, fmt.Appendf(nil, "clients: [{name: loader, token_sha256: %x, rights: [read], expires: %s}]\n",
		sha256.Sum256(nil), expires.Format(time.DateOnly)), 0o600))
}

// damage changes a byte in the middle of an image.
func damage(t *testing.T, image string) {
	t.Helper()
	expect.NoError(t, os.Chmod(image, 0o600))
	f, err := os.OpenFile(image, os.O_RDWR, 0)
	expect.NoError(t, err)
	defer f.Close()
	b := make([]byte, 1)
	_, err = f.ReadAt(b, 40)
	expect.NoError(t, err)
	b[0] ^= 1
	_, err = f.WriteAt(b, 40)
	expect.NoError(t, err)
	expect.NoError(t, os.Chmod(image, 0o400))
}

// hang puts pipes without a writer in the places of images: to open one does not return
// until release is called, which puts the images back.
func hang(t *testing.T, images ...string) (release func()) {
	t.Helper()
	for _, image := range images {
		expect.NoError(t, os.Rename(image, image+".gone"))
		expect.NoError(t, unix.Mkfifo(image+".pipe", 0o400))
		expect.NoError(t, os.Link(image+".pipe", image))
	}
	release = sync.OnceFunc(func() {
		for _, image := range images {
			expect.NoError(t, os.Rename(image+".gone", image))
			if f, err := os.OpenFile(image+".pipe", os.O_WRONLY|unix.O_NONBLOCK, 0); err == nil { // else nothing waits
				expect.NoError(t, f.Close())
			}
			expect.NoError(t, os.Remove(image+".pipe"))
		}
	})
	t.Cleanup(release)
	return release
}

// fillPool leaves no room for a shard.
func (s *stage) fillPool(filler string) {
	s.t.Helper()
	var stat unix.Statfs_t
	expect.NoError(s.t, unix.Statfs(s.images, &stat))
	f, err := os.Create(filler)
	expect.NoError(s.t, err)
	expect.NoError(s.t, unix.Fallocate(int(f.Fd()), 0, 0, int64(stat.Bavail)*stat.Bsize-shardSize/2))
	expect.NoError(s.t, f.Close())
}

// searchPath changes where new sessions look for functions, and ends the others.
func (s *stage) searchPath(change string) {
	s.exec("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I " + change + "', current_database()); END $$")
	s.exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
}

func (s *stage) exec(sql string) { pgtest.Exec(s.t, s.dsn, sql) }

// age makes a shard older in its state.
func (s *stage) age(of shard, by string) {
	s.exec("UPDATE winery_state SET since = since - interval '" + by + "' WHERE shard = " + of.number())
}

func (s *stage) ctl(args ...string) {
	s.t.Helper()
	out, err := s.Ctl(s.ctx, args...)
	if err != nil {
		s.t.Fatal(strings.TrimSpace(out), err)
	}
}
