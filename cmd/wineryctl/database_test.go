// SPDX-License-Identifier: GPL-3.0-or-later

package main_test

import (
	"encoding/json"
	"strings"
	"testing"

	"winery/internal/config"
	"winery/sharedbase"
	"winery/test/pgtest"
)

// configFile writes a configuration with a directory pool named test.
func configFile(t *testing.T, dsn, more string) string {
	t.Helper()
	quoted, err := json.Marshal(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, t.TempDir(), "winery.yml", `
objstorage:
  cls: winery
  database: {db: `+string(quoted)+`}
  shards_pools: [{type: directory, pool_name: test, shard_max_size: 1000, base_directory: `+t.TempDir()+`}]
  shards_active_pool: test
`+more+"\n")
}

func TestDatabase(t *testing.T) {
	dsn := pgtest.New(t)
	cfg := configFile(t, dsn, "")
	if _, stderr, status := ctl(t, "--config", cfg, "db", "version"); status != 1 || !strings.Contains(stderr, "db init") {
		t.Errorf("version of an empty database: status %d, %q", status, stderr)
	}
	if _, stderr, status := ctl(t, "--config", cfg, "shards", "list"); status != 1 || !strings.Contains(stderr, "db init") {
		t.Errorf("shards of an empty database: status %d, %q", status, stderr)
	}
	for _, want := range []string{
		"schema created: version 5\npool test: initialised\n",
		"schema exists already: version 5\npool test: initialised already\n",
	} {
		if got := must(t, "db", "init", "--config", cfg); got != want {
			t.Errorf("db init said %q, expected %q", got, want)
		}
	}
	for flag, says := range map[string]string{"0": "must be from 1 to 1024", "3": "its index is 1 table"} {
		if _, stderr, status := ctl(t, "--config", cfg, "db", "init", "--index-partitions", flag); status == 0 || !strings.Contains(stderr, says) {
			t.Errorf("--index-partitions %s: status %d, %q", flag, status, stderr)
		}
	}
	if got := must(t, "--config", cfg, "db", "version"); got != "5\n" {
		t.Errorf("db version said %q", got)
	}

	if got := must(t, "--config", cfg, "shards", "list", "--output", "json"); got != "[]\n" {
		t.Errorf("no shards: %q", got)
	}
	base, err := sharedbase.New(dsn, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer base.Close()
	idle, err := base.LockWritingShard(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	if err := idle.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	busy, err := base.CreateShard(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	var rows []map[string]any
	list := func(args ...string) {
		t.Helper()
		rows = nil
		if err := json.Unmarshal([]byte(must(t, append([]string{"--config", cfg, "shards", "list", "--output", "json"}, args...)...)), &rows); err != nil {
			t.Fatal(err)
		}
	}
	list()
	if len(rows) != 2 || rows[0]["name"] != idle.Name() || rows[0]["state"] != "standby" || rows[0]["locker"] != nil || rows[0]["since"] != nil {
		t.Fatalf("%v", rows)
	}
	if row := rows[1]; row["name"] != busy.Name() || row["pool"] != "test" || row["locker"] == nil || row["since"] == nil {
		t.Errorf("%v", row)
	}
	if list("--state", "full", "--state=writing"); len(rows) != 1 || rows[0]["name"] != busy.Name() {
		t.Errorf("%v", rows)
	}
	table := strings.Split(must(t, "--config", cfg, "shards", "list", "--state", "standby"), "\n")
	if len(table) != 3 || strings.Join(strings.Fields(table[0]), " ") != "NAME STATE POOL LOCKER HOLDER SINCE IMAGE HOSTS" ||
		strings.Join(strings.Fields(table[1]), " ") != idle.Name()+" standby test - - - - -" {
		t.Errorf("%q", table)
	}
}

// TestSecrets looks for the password in messages about a database that is unavailable or has a wrong name.
func TestSecrets(t *testing.T) {
	for dsn, status := range map[string]int{
		"postgresql://u:hunter2@127.0.0.1:1/x": 1,
		"postgresql://u:hunter2@127.0.0.1:x/x": 78,
	} {
		stdout, stderr, got := ctl(t, "--config", configFile(t, dsn, ""), "db", "init")
		if got != status || stderr == "" || strings.Contains(stdout+stderr, "hunter2") {
			t.Errorf("status %d, %q, %q", got, stdout, stderr)
		}
	}
}

// Commands that only read create nothing in a database of Python Winery, and do not wait for writers. Commands that
// change shards name the command that creates the missing tables.
func TestReadingCreatesNothing(t *testing.T) {
	dir := t.TempDir()
	s := newSite(t, config.Pool{Type: config.Directory, Name: "shards", ShardMaxSize: 1000, BaseDirectory: dir})
	s.must(t, "db", "init")
	s.detach(t)
	s.sql(t, `INSERT INTO shards (name, state, pool_name, locker, locker_ts)
		VALUES ('writing', 'writing', 'shards', gen_random_uuid(), now() - interval '3 days'); CREATE TABLE shard_writing (LIKE shard_template INCLUDING ALL)`)
	unlock := s.locking(t, "INSERT INTO signature2shard (signature, shard) SELECT 'x', id FROM shards")
	defer unlock()
	for _, args := range [][]string{
		{"shards", "list"}, {"shards", "list", "--long"}, {"shards", "stale"}, {"shards", "quarantined"}, {"db", "version"},
		{"shards", "release", "--dry-run"}, {"verify"},
	} {
		s.must(t, args...)
	}
	for _, args := range [][]string{
		{"shards", "release"}, {"shards", "unquarantine", "writing"}, {"verify", "--repair"}, {"objects", "clean-deleted"},
		{"shards", "import"}, {"db", "upgrade"},
	} {
		cure := "run `wineryctl db init`"
		if args[0] == "db" {
			cure = "lock timeout" // half a second later, for the insert
		}
		s.fails(t, 1, cure, args...)
	}
	if tables := s.sql(t, `SELECT count(*) FROM pg_class WHERE relname LIKE 'winery\_%'`); tables != "0" {
		t.Errorf("%s tables were created", tables)
	}
}
