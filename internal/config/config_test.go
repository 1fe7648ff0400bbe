// SPDX-License-Identifier: GPL-3.0-or-later

package config_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"winery/internal/config"
)

// minimal is the least that a storage needs.
const minimal = `
objstorage:
  cls: winery
  database: {db: "service=winery"}
  shards_pools:
    - {type: directory, base_directory: /srv/winery, shard_max_size: 1000}
  shards_active_pool: shards
`

// full sets every key to something that is not its default.
const full = `
client_max_size: 1073741824
statsd: {host: localhost}
objstorage:
  cls: winery
  check_config: {check_write: true}
  database:
    db: postgresql://winery:hunter2@db/winery
    application_name: vintner
  shards_pools:
    - type: rbd
      pool_name: hot
      shard_max_size: 107_374_182_400
      data_pool_name: hot-ec
      image_features_unsupported: [object-map, fast-diff]
      use_sudo: no
      map_options: ms_mode=secure
      map: librbd
      ceph_conf: /etc/ceph/other.conf
      ceph_user: winery
    - type: directory
      pool_name: cold
      shard_max_size: 1000
      base_directory: /srv/winery
      use_permissions: false
  shards_active_pool: cold
  packer: {create_images: false}
  rw_idle_timeout: 1.5
  readers_cache_size: 10
  allow_delete: true
  readonly: true
  name: cellar
winery:
  listen: unix:/run/winery/winery.sock
  tls: {certificate: /c.pem, key: /k.pem, client_ca: /ca.pem}
  access: /etc/winery/access.yml
  allow_unprotected_network: true
  writers: 4
  max_object_size: 960 MiB
  lease: 120
  database_connections: 40
  stall_limit: 1800
  hash_cache: {directory: /var/cache/winery, size: 1GiB}
`

func TestParse(t *testing.T) {
	defaults := config.Winery{Listen: "127.0.0.1:5003", Writers: 1, MaxObjectSize: 104857600, Lease: time.Minute, DatabaseConnections: 24, StallLimit: 15 * time.Minute,
		HashCache: config.HashCache{Size: 35_000_000_000}}
	for name, c := range map[string]struct {
		yaml string
		want config.Config
	}{
		"defaults": {minimal, config.Config{
			Database: config.Database{DSN: "service=winery"},
			Pools: []config.Pool{{
				Type: config.Directory, Name: "shards", ShardMaxSize: 1000,
				BaseDirectory: "/srv/winery", UsePermissions: true,
			}},
			ActivePool: "shards", RWIdleTimeout: 300 * time.Second, ReadersCacheSize: 1000,
			Name: "winery", Packer: config.Packer{CreateImages: true}, Winery: defaults,
		}},
		"defaults of an rbd pool, null for what is left out, and no active pool": {`
objstorage:
  cls: winery
  database: {db: dbname=winery, application_name: null}
  shards_pools: [{type: rbd, shard_max_size: 1000.0, data_pool_name: ~}]
  shards_active_pool:
  packer:
  readers_cache_size:
  readonly: true
winery:
`, config.Config{
			Database: config.Database{DSN: "dbname=winery"},
			Pools: []config.Pool{{
				Type: config.RBD, Name: "shards", ShardMaxSize: 1000, DataPool: "shards-data",
				UseSudo: true, Map: config.MapKernel,
			}},
			RWIdleTimeout: 300 * time.Second, ReadersCacheSize: 1000, ReadOnly: true,
			Name: "winery", Packer: config.Packer{CreateImages: true}, Winery: defaults,
		}},
		"everything": {full, config.Config{
			Database: config.Database{DSN: "postgresql://winery:hunter2@db/winery", ApplicationName: "vintner"},
			Pools: []config.Pool{{
				Type: config.RBD, Name: "hot", ShardMaxSize: 107374182400, DataPool: "hot-ec",
				FeaturesUnsupported: []string{"object-map", "fast-diff"}, MapOptions: "ms_mode=secure",
				Map: config.MapLibrbd, CephConf: "/etc/ceph/other.conf", CephUser: "winery",
			}, {
				Type: config.Directory, Name: "cold", ShardMaxSize: 1000, BaseDirectory: "/srv/winery",
			}},
			ActivePool: "cold", RWIdleTimeout: 1500 * time.Millisecond, ReadersCacheSize: 10,
			AllowDelete: true, Name: "cellar", ReadOnly: true,
			Winery: config.Winery{Listen: "unix:/run/winery/winery.sock", TLS: config.TLS{Certificate: "/c.pem", Key: "/k.pem", ClientCA: "/ca.pem"},
				Access: "/etc/winery/access.yml", AllowUnprotectedNetwork: true, Writers: 4, MaxObjectSize: 960 << 20, Lease: 2 * time.Minute, DatabaseConnections: 40, StallLimit: 30 * time.Minute,
				HashCache: config.HashCache{Directory: "/var/cache/winery", Size: 1 << 30}},
		}},
		"mosaics": {`
objstorage:
  cls: winery
  database: {db: dbname=winery}
  shards_pools:
    - {type: mosaic, base_directory: /srv, shard_max_size: 7}
    - {type: mosaic, base_directory: /srv, shard_max_size: 7, pool_name: a, compression_level: none}
    - {type: mosaic, base_directory: /srv, shard_max_size: 7, pool_name: b, compression_level: 0, dictionary: true}
    - {type: mosaic, base_directory: /srv, shard_max_size: 7, pool_name: c, compression_level: 22}
    - {type: mosaic-s3, shard_max_size: 7, pool_name: d, base_url: s3://bucket, tmp_directory: /tmp, compression_level: 3}
    - type: mosaic-s3
      shard_max_size: 7
      pool_name: e
      base_url: s3://bucket/prefix/
      image_extension: .mosaic
      anonymous: true
      read_only: true
      boto3_config: {endpoint_url: "http://s3", region_name: r, aws_access_key_id: a, aws_secret_access_key: b, aws_session_token: c, verify: /ca.pem, use_ssl: false}
      addressing: virtual
      cache_directory: /cache
      cache_size: 10GiB
    - {type: mosaic-s3, shard_max_size: 7, pool_name: f, base_url: s3://bucket, read_only: true, boto3_config: {verify: false}}
  shards_active_pool: mosaics
winery: {max_object_size: 268435440}
`, config.Config{
			Database: config.Database{DSN: "dbname=winery"},
			Pools: []config.Pool{
				{Type: config.Mosaic, Name: "mosaics", ShardMaxSize: 7, BaseDirectory: "/srv", UsePermissions: true},
				{Type: config.Mosaic, Name: "a", ShardMaxSize: 7, BaseDirectory: "/srv", UsePermissions: true},
				{Type: config.Mosaic, Name: "b", ShardMaxSize: 7, BaseDirectory: "/srv", UsePermissions: true, Compression: true, Dictionary: true},
				{Type: config.Mosaic, Name: "c", ShardMaxSize: 7, BaseDirectory: "/srv", UsePermissions: true, Compression: true, CompressionLevel: 22},
				{Type: config.MosaicS3, Name: "d", ShardMaxSize: 7, Compression: true, CompressionLevel: 3, S3: config.S3{BaseURL: "s3://bucket", TmpDirectory: "/tmp"}},
				{Type: config.MosaicS3, Name: "e", ShardMaxSize: 7, S3: config.S3{BaseURL: "s3://bucket/prefix/", ImageExtension: ".mosaic", Anonymous: true, ReadOnly: true,
					Endpoint: "http://s3", Region: "r", AccessKey: "a", SecretKey: "b", SessionToken: "c", CABundle: "/ca.pem",
					Addressing: "virtual", CacheDirectory: "/cache", CacheSize: 10 << 30}},
				{Type: config.MosaicS3, Name: "f", ShardMaxSize: 7, S3: config.S3{BaseURL: "s3://bucket", ReadOnly: true, Insecure: true}},
			},
			ActivePool: "mosaics", RWIdleTimeout: 300 * time.Second, ReadersCacheSize: 1000,
			Name: "winery", Packer: config.Packer{CreateImages: true},
			Winery: config.Winery{Listen: "127.0.0.1:5003", Writers: 1, MaxObjectSize: 268435440, Lease: time.Minute, DatabaseConnections: 24, StallLimit: 15 * time.Minute,
				HashCache: config.HashCache{Size: 35_000_000_000}},
		}},
		"an anchor merged into pools": {`
common: &common {type: directory, base_directory: /srv, shard_max_size: 7}
objstorage:
  cls: winery
  database: {db: dbname=winery}
  shards_pools: [{<<: *common, pool_name: a}, {<<: *common, pool_name: b, shard_max_size: 8}]
  shards_active_pool: b
`, config.Config{
			Database: config.Database{DSN: "dbname=winery"},
			Pools: []config.Pool{
				{Type: config.Directory, Name: "a", ShardMaxSize: 7, BaseDirectory: "/srv", UsePermissions: true},
				{Type: config.Directory, Name: "b", ShardMaxSize: 8, BaseDirectory: "/srv", UsePermissions: true},
			},
			ActivePool: "b", RWIdleTimeout: 300 * time.Second, ReadersCacheSize: 1000,
			Name: "winery", Packer: config.Packer{CreateImages: true}, Winery: defaults,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c.want.Path = "f.yml"
			got, err := config.Parse("f.yml", []byte(c.yaml))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(*got, c.want) {
				t.Errorf("got\n%+v, want\n%+v", *got, c.want)
			}
		})
	}
}

// Durations and sizes take units. Plain numbers are seconds and bytes, as in Python.
func TestUnits(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"90": 90 * time.Second, "1.5": 1500 * time.Millisecond, "60s": time.Minute, "1h30m": 90 * time.Minute, `"250ms"`: 250 * time.Millisecond,
		"1:30": 90 * time.Second, // YAML 1.1 reads base 60
		"0s":   0, "-1m": 0, "1d": 0, `"60"`: 0, "5 s": 0, "1h30": 0, "one": 0,
	} {
		c, err := config.Parse("f.yml", []byte(minimal+"  rw_idle_timeout: "+text))
		if (err != nil) != (want == 0) || err == nil && c.RWIdleTimeout != want {
			t.Errorf("rw_idle_timeout: %s: got %+v, %v, want %v", text, c, err, want)
		}
	}
	for text, want := range map[string]time.Duration{"4": 4 * time.Second, "1m30s": 90 * time.Second, "1h": time.Hour, "3.9s": 0, "3600.5": 0, "61m": 0} {
		c, err := config.Parse("f.yml", []byte(minimal+"winery: {lease: "+text+", stall_limit: 24h}"))
		if (err != nil) != (want == 0) || err == nil && (c.Winery.Lease != want || c.Winery.StallLimit != 24*time.Hour) {
			t.Errorf("lease: %s: got %+v, %v, want %v", text, c, err, want)
		}
	}
	for text, want := range map[string]int64{
		"1000": 1000, "1_000": 1000, "1000.0": 1000, "100GB": 100e9, "64MiB": 64 << 20, "1.5 GiB": 3 << 29, "2k": 2000, "1PiB": 1 << 50,
		"1.1PiB": 0, "0GB": 0, "-1GB": 0, `"1,5GB"`: 0, "1000.5": 0, "100GBB": 0, "GB": 0,
	} {
		pools := strings.Replace(minimal, "shard_max_size: 1000", "shard_max_size: "+text, 1)
		obsolete := strings.Replace(minimal, ", shard_max_size: 1000", "", 1) + "  shards: {max_size: " + text + "}"
		for _, file := range []string{pools, obsolete} {
			c, err := config.Parse("f.yml", []byte(file))
			if (err != nil) != (want == 0) || err == nil && c.Pools[0].ShardMaxSize != want {
				t.Errorf("%s: got %+v, %v, want %v", file, c, err, want)
			}
		}
	}
}

// An old file works, with its values and a warning for each obsolete key.
func TestObsolete(t *testing.T) {
	got, err := config.Parse("old.yml", []byte(`
objstorage:
  cls: winery
  database: {db: dbname=winery}
  shards: {max_size: 5000, rw_idle_timeout: 60}
  shards_pools:
    - {type: rbd, pool_name: a}
    - {type: rbd, pool_name: b, shard_max_size: 6000}
  shards_active_pool: a
  throttler: {db: "dbname=winery", max_write_bps: 1}
  packer: {pack_immediately: false, clean_immediately: true}
  readers_cache_size: 0
winery: {verify_content: false}
`))
	if err != nil {
		t.Fatal(err)
	}
	if a, b := got.Pools[0].ShardMaxSize, got.Pools[1].ShardMaxSize; a != 5000 || b != 6000 {
		t.Errorf("shard_max_size: got %d and %d, want 5000 and 6000", a, b)
	}
	if got.RWIdleTimeout != time.Minute || got.ReadersCacheSize != 1000 {
		t.Errorf("got %v and %d, want 1m and 1000", got.RWIdleTimeout, got.ReadersCacheSize)
	}
	want := []string{
		"old.yml:5: objstorage.shards: an obsolete section; move max_size to each pool as shard_max_size, and rw_idle_timeout to objstorage",
		"old.yml:10: objstorage.throttler: does nothing any more; remove it",
		"old.yml:11: objstorage.packer.pack_immediately: does nothing any more; remove it",
		"old.yml:11: objstorage.packer.clean_immediately: does nothing any more; remove it",
		"old.yml:12: objstorage.readers_cache_size: 0 means the default of 1000",
		"old.yml:13: winery.verify_content: does nothing any more: content is always verified; remove it",
	}
	if !reflect.DeepEqual(got.Warnings, want) {
		t.Errorf("warnings:\n%s\nwant:\n%s", strings.Join(got.Warnings, "\n"), strings.Join(want, "\n"))
	}
}

// Of equal keys the last one counts, as in Python, and a warning tells so.
func TestDuplicateKey(t *testing.T) {
	got, err := config.Parse("f.yml", []byte(minimal+"  name: first\n  name: second\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"f.yml:9: name: given more than once; the last one counts: remove the others"}
	if got.Name != "second" || !reflect.DeepEqual(got.Warnings, want) {
		t.Errorf("name %q, warnings %q", got.Name, got.Warnings)
	}
}

// Aliases cost no memory, and one that contains itself ends nothing.
func TestAliases(t *testing.T) {
	bomb := "a0: &a0 [x, x]\n"
	for i := range 100 {
		bomb += fmt.Sprintf("a%d: &a%d [*a%d, *a%d]\n", i+1, i+1, i, i)
	}
	if _, err := config.Parse("f.yml", []byte(bomb+minimal)); err != nil {
		t.Error(err)
	}
	if _, err := config.Parse("f.yml", []byte(minimal+"other: &a [*a]\n")); err == nil || !strings.Contains(err.Error(), "f.yml:8: not valid YAML: a value contains itself") {
		t.Error(err)
	}
}

// Every file in testdata/bad gives exactly the messages beside it.
func TestErrors(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yml")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			golden := strings.TrimSuffix(file, ".yml") + ".golden"
			c, err := config.Load(file, nil)
			if err == nil {
				t.Fatalf("accepted as %+v", c)
			}
			if !errors.As(err, new(*config.Error)) {
				t.Errorf("not a *config.Error: %T", err)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Error("shows the password")
			}
			got := strings.ReplaceAll(err.Error(), "testdata/bad/", "") + "\n"
			if os.Getenv("UPDATE_GOLDEN") != "" {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got:\n%swant:\n%s", got, want)
			}
		})
	}
}

func TestLoadNoFile(t *testing.T) {
	const ways = "name the configuration by --config FILE, WINERY_CONFIG or SWH_CONFIG_FILENAME"
	dir := t.TempDir()
	for path, want := range map[string]string{
		"":                   "no configuration file: " + ways,
		"/nonexistent/w.yml": "/nonexistent/w.yml: no such file: " + ways,
		dir:                  dir + ": cannot be read: is a directory",
	} {
		_, err := config.Load(path, nil)
		if err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", path, err, want)
		}
	}
}

func TestParseListen(t *testing.T) {
	for listen, want := range map[string][2]string{
		"127.0.0.1:5003":   {"tcp", "127.0.0.1:5003"},
		":0":               {"tcp", ":0"},
		"[::1]:80":         {"tcp", "[::1]:80"},
		"unix:/run/w.sock": {"unix", "/run/w.sock"},
		"unix:relative":    {},
		"localhost":        {},
		"localhost:http":   {},
		"localhost:99999":  {},
		"/run/w.sock":      {},
	} {
		network, address, err := config.ParseListen(listen)
		if [2]string{network, address} != want || (err == nil) != (want[0] != "") {
			t.Errorf("%s: got %s %s, %v", listen, network, address, err)
		}
	}
}
