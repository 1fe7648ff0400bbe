// SPDX-License-Identifier: GPL-3.0-or-later

package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"winery/internal/config"
	"winery/internal/reader"
	"winery/internal/storage"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/pgtest"
	"winery/test/roletest"
)

// site is a database and pools, with a configuration file for wineryctl.
type site struct {
	config, dsn string
	base        *sharedbase.SharedBase
	pools       storage.Set
}

// newSite makes a site with an empty database.
func newSite(t *testing.T, configured ...config.Pool) *site {
	t.Helper()
	return newSiteOn(t, pgtest.New(t), configured...)
}

func newSiteOn(t *testing.T, dsn string, configured ...config.Pool) *site {
	t.Helper()
	s := &site{dsn: dsn}
	entries := make([]map[string]any, len(configured))
	for i, p := range configured {
		entries[i] = map[string]any{"type": p.Type, "pool_name": p.Name, "shard_max_size": p.ShardMaxSize}
		switch p.Type {
		case config.RBD:
			entries[i]["map"], entries[i]["ceph_conf"], entries[i]["data_pool_name"] = p.Map, p.CephConf, p.DataPool
		case config.MosaicS3:
			entries[i]["base_url"], entries[i]["tmp_directory"] = p.S3.BaseURL, p.S3.TmpDirectory
			entries[i]["boto3_config"] = map[string]any{
				"endpoint_url": p.S3.Endpoint, "aws_access_key_id": p.S3.AccessKey, "aws_secret_access_key": p.S3.SecretKey,
			}
		default:
			entries[i]["base_directory"] = p.BaseDirectory
		}
	}
	text, err := json.Marshal(map[string]any{"objstorage": map[string]any{ // JSON is YAML
		"cls": "winery", "database": map[string]any{"db": s.dsn}, "shards_pools": entries, "shards_active_pool": configured[0].Name,
	}})
	expect.NoError(t, err)
	s.config = write(t, t.TempDir(), "winery.yml", string(text))
	s.base, err = sharedbase.New(s.dsn, "test")
	expect.NoError(t, err)
	t.Cleanup(s.base.Close)
	s.pools = roletest.OpenPools(t, true, configured...)
	return s
}

// must runs wineryctl with the site's configuration.
func (s *site) must(t *testing.T, args ...string) string {
	t.Helper()
	return must(t, append([]string{"--config", s.config}, args...)...)
}

// fails runs wineryctl where a status and words on stderr are expected.
func (s *site) fails(t *testing.T, status int, says string, args ...string) {
	t.Helper()
	stdout, stderr, got := ctl(t, append([]string{"--config", s.config}, args...)...)
	if got != status || !strings.Contains(stderr, says) {
		t.Fatalf("%q: status %d, stdout %q, stderr %q; expected status %d and %q", args, got, stdout, stderr, status, says)
	}
}

// rows is must with --output json.
func (s *site) rows(t *testing.T, args ...string) (rows []map[string]any) {
	t.Helper()
	expect.NoError(t, json.Unmarshal([]byte(s.must(t, append(args, "--output", "json")...)), &rows))
	return rows
}

// killed runs wineryctl until one of its database sessions waits for a lock, and kills wineryctl then.
func (s *site) killed(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, append([]string{"--config", s.config}, args...)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	expect.NoError(t, cmd.Start())
	expect.Eventually(t, "wineryctl to wait for a lock", func() bool {
		return s.sql(t, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'") == "1"
	})
	expect.NoError(t, cmd.Process.Kill())
	err := cmd.Wait()
	if status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGKILL {
		t.Fatalf("wineryctl ended before the kill: %v\n%s", err, &out)
	}
}

// psql returns a psql command on the database of the site.
func (s *site) psql(t *testing.T, args ...string) *exec.Cmd {
	return exec.CommandContext(t.Context(), "psql", append([]string{"-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", s.dsn}, args...)...)
}

func (s *site) sql(t *testing.T, statement string) string {
	t.Helper()
	out, err := s.psql(t, "-c", statement).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", statement, err, out)
	}
	return strings.TrimSpace(string(out))
}

// detach leaves of an initialised database what Python Winery makes.
func (s *site) detach(t *testing.T) {
	t.Helper()
	s.sql(t, `DROP FUNCTION winery_note_erasure, winery_note_state, winery_create_table, winery_drop_table, winery_drop_adopted_table CASCADE; DO $$ DECLARE name text; BEGIN
		FOR name IN SELECT relname FROM pg_class WHERE relkind = 'r' AND relname LIKE 'winery\_%' LOOP
			EXECUTE 'DROP TABLE ' || name || ' CASCADE';
		END LOOP; END $$`)
}

// locking runs a statement, and keeps the locks of the statement until unlock is called.
func (s *site) locking(t *testing.T, statement string) (unlock func()) {
	t.Helper()
	cmd := s.psql(t)
	in, err := cmd.StdinPipe()
	expect.NoError(t, err)
	out, err := cmd.StdoutPipe()
	expect.NoError(t, err)
	cmd.Stderr = os.Stderr
	expect.NoError(t, cmd.Start())
	_, err = fmt.Fprintf(in, "BEGIN; %s;\n\\echo locked\n", statement)
	expect.NoError(t, err)
	if _, err := out.Read(make([]byte, 100)); err != nil {
		t.Fatalf("psql: %v, %v", err, cmd.Wait())
	}
	return func() {
		expect.NoError(t, in.Close())
		expect.NoError(t, cmd.Wait())
	}
}

// wantObjects reads all objects as a reader does.
func (s *site) wantObjects(t *testing.T, objects []sharedbase.Object) {
	t.Helper()
	r := reader.NewReader(reader.Options{Base: s.base, Pools: s.pools, CacheSize: 10, Log: slog.New(slog.DiscardHandler)})
	defer r.Close()
	for _, o := range objects {
		got, err := r.Get(t.Context(), o.ID, nil)
		expect.NoError(t, err)
		if !bytes.Equal(got, o.Content) {
			t.Fatalf("object %x has wrong content", o.ID)
		}
	}
}

// writing makes a shard of a pool that a writer fills, with objects.
func (s *site) writing(t *testing.T, pool string, objects []sharedbase.Object) *sharedbase.Claim {
	t.Helper()
	claim, err := s.base.CreateShard(t.Context(), pool)
	expect.NoError(t, err)
	_, err = s.base.Add(t.Context(), claim, objects)
	expect.NoError(t, err)
	return claim
}
