// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"winery/internal/packer"
	"winery/pool/pooltest"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/harness/relay"
	"winery/test/logtest"
	"winery/test/pgtest"
	"winery/test/roletest"
	"winery/test/s3test"
)

// asCleaner, in the environment, makes the test binary the cleaner.
const asCleaner = "WINERY_TEST_AS_CLEANER"

func TestMain(m *testing.M) {
	if os.Getenv(asCleaner) != "" {
		main()
		return
	}
	goleak.VerifyTestMain(s3test.Tests{M: m})
}

// site is a database with a slow pool, in S3 behind a relay, and a pool of files.
type site struct {
	*roletest.Stage
	relay         *relay.Relay
	configuration string
}

func newSite(t *testing.T) *site {
	t.Helper()
	far, files := roletest.S3(t), roletest.Directory(t, "")
	s := &site{Stage: roletest.New(t, far)}
	s.Pools[files.Name] = roletest.OpenPools(t, true, files)[files.Name]
	var err error
	s.relay, err = relay.To(strings.TrimPrefix(far.S3.Endpoint, "http://"))
	expect.NoError(t, err)
	t.Cleanup(s.relay.Close)
	s.configuration = filepath.Join(t.TempDir(), "winery.yml")
	expect.NoError(t, os.WriteFile(s.configuration, fmt.Appendf(nil, `
objstorage:
  cls: winery
  database: {db: %q}
  shards_pools:
    - {type: directory, pool_name: files, base_directory: %q, shard_max_size: 4194304}
    - {type: mosaic-s3, pool_name: far, shard_max_size: 4194304, compression_level: 3, base_url: %q, tmp_directory: %q,
       boto3_config: {endpoint_url: "http://%s", aws_access_key_id: %q, aws_secret_access_key: %q}}
  shards_active_pool: files
`, s.DSN, files.BaseDirectory, far.S3.BaseURL, t.TempDir(), s.relay.Address(), far.S3.AccessKey, far.S3.SecretKey), 0o600))
	return s
}

// packed makes a shard of a pool with its image.
func (s *site) packed(t *testing.T, in string, objects []sharedbase.Object) string {
	t.Helper()
	name := s.FullIn(t, in, objects)
	_, err := packer.New(packer.Options{Base: s.Base, Pools: s.Pools, Log: s.Log}).Step(t.Context())
	expect.NoError(t, err)
	s.WantState(t, name, sharedbase.StatePacked)
	return name
}

// start starts a cleaner.
func (s *site) start(t *testing.T, args ...string) (*exec.Cmd, *logtest.Log) {
	t.Helper()
	args = append([]string{"--config", s.configuration, "--telemetry-listen", "off", "--log-format", "text", "--log-level", "debug"}, args...)
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), asCleaner+"=1")
	log := &logtest.Log{}
	cmd.Stderr = log
	expect.NoError(t, cmd.Start())
	return cmd, log
}

func (s *site) mapped(t *testing.T, in, name string) {
	t.Helper()
	_, err := s.Base.RecordShardMapped(t.Context(), "host", in, name)
	expect.NoError(t, err)
}

func (s *site) unerased(t *testing.T, name string) int {
	t.Helper()
	ids, err := s.Base.DeletedObjects(t.Context(), s.Shard(t, name).ID, 10)
	expect.NoError(t, err)
	return len(ids)
}

// TestSlowPool: while a pool answers nothing, tables of another pool are dropped and objects
// in it erased, also those whose turn came after the slow pool's.
func TestSlowPool(t *testing.T) {
	s := newSite(t)
	objects := [][]sharedbase.Object{roletest.Objects(1, 20, 3000), roletest.Objects(2, 20, 3000)[1:], roletest.Objects(3, 20, 3000)[1:]}
	slow, next := s.packed(t, "far", objects[0]), s.packed(t, "files", objects[1])
	cmd, log := s.start(t)
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("the log has\n%s", log)
		}
	}()
	log.Wait(t, "nothing to do")
	pgtest.Until(t, s.DSN, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '/* winery: Listen */%')")
	s.relay.Hold()
	expect.NoError(t, s.Base.Delete(t.Context(), objects[0][5].ID))
	s.mapped(t, "far", slow)
	occupied := func() bool {
		leases, err := s.Base.ImageLeases(t.Context())
		expect.NoError(t, err)
		_, erasing := leases[s.Shard(t, slow).ID]
		return erasing && s.Shard(t, slow).State == sharedbase.StateCleaning
	}
	expect.Eventually(t, "the slow pool to occupy its loops", occupied)

	clean := func(name string, of []sharedbase.Object) {
		t.Helper()
		expect.NoError(t, s.Base.Delete(t.Context(), of[5].ID))
		s.mapped(t, "files", name)
		expect.Eventually(t, "the other pool to be cleaned", func() bool {
			return s.Shard(t, name).State == sharedbase.StateReadOnly && s.unerased(t, name) == 0
		})
		if !occupied() {
			t.Error("the other pool was cleaned only after the slow one")
		}
	}
	clean(next, objects[1])
	clean(s.packed(t, "files", objects[2]), objects[2])

	s.relay.Resume()
	expect.Eventually(t, "the slow pool to be cleaned", func() bool {
		return s.Shard(t, slow).State == sharedbase.StateReadOnly && s.unerased(t, slow) == 0
	})
	s.WantObjects(t, slow, slices.Concat(objects[0][:5], objects[0][6:]))
	expect.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	expect.NoError(t, cmd.Wait())
}

// TestFailureInOnePool: with --stop-instead-of-waiting, a pool that fails keeps no other
// pool from being cleaned, and the process then fails.
func TestFailureInOnePool(t *testing.T) {
	s := newSite(t)
	objects := roletest.Objects(2, 20, 3000)[1:]
	missing, good := s.packed(t, "far", roletest.Objects(1, 20, 3000)), s.packed(t, "files", objects)
	expect.NoError(t, s.Base.Delete(t.Context(), objects[5].ID))
	expect.NoError(t, s.Pool.Remove(t.Context(), missing, pooltest.Anything{}))
	s.mapped(t, "far", missing)
	s.mapped(t, "files", good)
	cmd, log := s.start(t, "--stop-instead-of-waiting")
	if err := cmd.Wait(); err == nil || !strings.Contains(log.String(), missing) {
		t.Errorf("%v, %s", err, log)
	}
	s.WantState(t, good, sharedbase.StateReadOnly)
	s.WantState(t, missing, sharedbase.StatePacked)
}
