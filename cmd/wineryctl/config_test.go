// SPDX-License-Identifier: GPL-3.0-or-later

package main_test

import (
	"strings"
	"testing"
)

const goodConfig = `objstorage:
  cls: winery
  database: {db: "postgresql://u:hunter2@db.example.org/objects"}
  shards_pools:
    - {type: rbd, pool_name: hot, shard_max_size: 100GiB, map: librbd}
    - {type: directory, pool_name: cold, shard_max_size: 1000, base_directory: /srv/winery}
    - {type: mosaic, shard_max_size: 1000, base_directory: /srv/winery, compression_level: 9, dictionary: true}
    - {type: mosaic-s3, pool_name: far, shard_max_size: 1000, base_url: "s3://bucket/prefix", tmp_directory: /var/tmp, boto3_config: {aws_access_key_id: hunter2, aws_secret_access_key: hunter2}}
  shards_active_pool: hot
  throttler: {}
`

// `config check` accepts a good file without a service, prints warnings and a summary, and shows no password.
func TestConfigCheck(t *testing.T) {
	file := write(t, t.TempDir(), "winery.yml", goodConfig)
	want := "configuration " + file + `: ok
warning: ` + file + `:10: objstorage.throttler: does nothing any more; remove it
database: database objects at db.example.org:5432 as user u
pool hot: rbd, data pool hot-data, map librbd, shard_max_size 107374182400 (100 GiB), active
pool cold: directory /srv/winery, shard_max_size 1000 (1000 B)
pool mosaics: mosaic, directory /srv/winery, zstd level 9 with a dictionary, shard_max_size 1000 (1000 B)
pool far: mosaic-s3, s3://bucket/prefix, not compressed, tmp_directory /var/tmp, cache none, shard_max_size 1000 (1000 B)
all roles: lease 1m0s, stall_limit 15m0s, database_connections 24
writer: listen 127.0.0.1:5003, writers 1, max_object_size 104857600 (100 MiB), rw_idle_timeout 5m0s, readers_cache_size 1000, readonly false, allow_delete false
writer: hash_cache none
clients: tls.certificate none, tls.client_ca none, access none, allow_unprotected_network false
packer: create_images true
`
	for _, args := range [][]string{{"config", "check", file}, {"--config", file, "config", "check"}, {"config", "check", "--config", "/nonexistent", file}} {
		if got := must(t, args...); got != want {
			t.Errorf("%q prints\n%s, want\n%s", args, got, want)
		}
	}
}

// `config check` prints all faults in the order of the file, those of the connection string included.
func TestConfigCheckFaults(t *testing.T) {
	file := write(t, t.TempDir(), "winery.yml", strings.NewReplacer(
		"db.example.org", "db:port", "100GiB", "100 Gibi", "librbd", "fuse", "active_pool: hot", "active_pool: ice", "throttler", "trottler").Replace(goodConfig)+"winery: {lease: 2s, listen: 5003}\n")
	want := `:3: objstorage.database.db: the database's DSN has an invalid port: it must be from 1 to 65535, and special characters of user and password must be written as %XX
:5: objstorage.shards_pools[0].shard_max_size: found "100 Gibi", must be a number of bytes from 1 to 1125899906842624 (1.0 PiB), such as 104857600 or 100MiB
:5: objstorage.shards_pools[0].map: found "fuse", must be kernel or librbd
:9: objstorage.shards_active_pool: found "ice", must be the name of a pool: hot or cold or mosaics or far
:10: objstorage.trottler: unknown key; the nearest known one is throttler: correct the name, or remove the key
:11: winery.listen: found 5003, must be a string
:11: winery.lease: found "2s", must be a number of seconds from 4 to 3600, such as 90, 90s or 1m30s
`
	stdout, stderr, status := ctl(t, "config", "check", file)
	if got := strings.ReplaceAll(stdout, "error: "+file, ""); got != want || status != 78 {
		t.Errorf("status %d, stdout\n%s, want\n%s", status, got, want)
	}
	if !strings.Contains(stderr, "the configuration has 7 errors") || strings.Contains(stdout+stderr, "hunter2") {
		t.Errorf("stderr %q", stderr)
	}
	for says, args := range map[string][]string{
		"error: no configuration file: name": {"config", "check"},
		"no such file":                       {"config", "check", "/nonexistent/winery.yml"},
		"unexpected argument":                {"config", "check", file, file},
		"config needs a command":             {"config"},
	} {
		if stdout, stderr, status := ctl(t, args...); status != 78 || !strings.Contains(stdout+stderr, says) {
			t.Errorf("%q: status %d, %s%s, want 78 and %q", args, status, stdout, stderr, says)
		}
	}
}
