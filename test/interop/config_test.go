// SPDX-License-Identifier: GPL-3.0-or-later

package interop

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"winery/internal/config"
	"winery/test/fleettest"
)

// files are configurations for both. DIR is a folder.
var files = map[string]string{
	"the least": `
objstorage:
  cls: winery
  database: {db: dbname=winery}
  shards_pools: [{type: directory, base_directory: DIR, shard_max_size: 1000}]
  shards_active_pool: shards
`,
	"an rbd pool with all keys": `
client_max_size: 1073741824
objstorage:
  cls: winery
  database:
    db: postgresql://winery:secret@db.example.org:5433/winery?connect_timeout=3
    application_name: vintner
  shards_pools:
    - type: rbd
      pool_name: hot
      shard_max_size: 107_374_182_400
      data_pool_name: hot-ec
      image_features_unsupported: [object-map, fast-diff]
      use_sudo: no
      map_options: ms_mode=prefer-secure
  shards_active_pool: hot
  packer: {create_images: false}
  rw_idle_timeout: 60
  readers_cache_size: 10
  allow_delete: yes
  name: cellar
`,
	"an rbd pool's defaults": `
objstorage:
  cls: winery
  database: {db: service=winery, application_name: null}
  shards_pools: [{type: rbd, shard_max_size: 1000, data_pool_name: ~}]
  shards_active_pool: shards
  check_config: {check_write: true}
`,
	"two pools": `
objstorage:
  cls: winery
  database: {db: "host=/run/postgresql user=winery dbname='my winery'"}
  shards_pools:
    - {type: rbd, pool_name: hot, shard_max_size: 2000}
    - {type: directory, pool_name: cold, base_directory: DIR, shard_max_size: 3000, use_permissions: off}
  shards_active_pool: cold
  rw_idle_timeout: 1.5
`,
	"read only": `
objstorage:
  cls: winery
  readonly: true
  database: {db: dbname=winery}
  shards_pools: [{type: directory, pool_name: p, base_directory: DIR, shard_max_size: 0x1000}]
  packer:
`,
	"obsolete keys": `
objstorage:
  cls: winery
  database: {db: dbname=winery}
  shards: {max_size: 5000, rw_idle_timeout: 70}
  shards_pools:
    - {type: rbd, pool_name: a}
    - {type: rbd, pool_name: b, shard_max_size: 6000}
  shards_active_pool: a
  throttler: {db: dbname=winery, max_write_bps: 1}
  packer: {create_images: true, pack_immediately: false, clean_immediately: true}
`,
	"our own keys": `
objstorage:
  cls: winery
  database: {db: dbname=winery}
  shards_pools:
    - {type: rbd, pool_name: hot, shard_max_size: 2000, map: librbd, ceph_conf: /etc/ceph/other.conf, ceph_user: winery}
  shards_active_pool: hot
winery: {listen: "127.0.0.1:5003", writers: 4, verify_content: false, max_object_size: 960 MiB}
`,
	"mosaics": `
objstorage:
  cls: winery
  database: {db: dbname=winery}
  shards_pools:
    - {type: mosaic, base_directory: DIR, shard_max_size: 7}
    - {type: mosaic, base_directory: DIR, shard_max_size: 7, pool_name: a, compression_level: none}
    - {type: mosaic, base_directory: DIR, shard_max_size: 7, pool_name: b, compression_level: 0, dictionary: true}
    - {type: mosaic, base_directory: DIR, shard_max_size: 7, pool_name: c, compression_level: 22}
    - {type: mosaic, base_directory: DIR, shard_max_size: 7, pool_name: d, compression_level: ~}
    - {type: mosaic-s3, shard_max_size: 7, pool_name: e, base_url: s3://bucket/a/prefix/, tmp_directory: DIR, compression_level: 3, image_extension: .mosaic,
       boto3_config: {endpoint_url: "http://127.0.0.1:1", region_name: eu-west-3, aws_access_key_id: a, aws_secret_access_key: b, use_ssl: false, verify: false}}
    - {type: mosaic-s3, shard_max_size: 7, pool_name: f, base_url: s3://bucket, tmp_directory: DIR, read_only: true, boto3_config: {endpoint_url: "http://127.0.0.1:1", region_name: eu-west-3}}
  shards_active_pool: mosaics
`,
	"anchors": `
common: &common {type: directory, base_directory: DIR, shard_max_size: 7}
dsn: &dsn dbname=winery
objstorage:
  cls: winery
  database: {db: *dsn, application_name: &name vintner}
  shards_pools: [{<<: *common, pool_name: a}, {<<: *common, pool_name: b, shard_max_size: 8}]
  shards_active_pool: b
  name: *name
`,
}

// The same files mean the same to both.
func TestConfiguration(t *testing.T) {
	dir := t.TempDir()
	args := []string{"testdata/settings.py", "values"}
	var names []string
	for name, text := range files {
		names = append(names, name)
		args = append(args, write(t, strings.ReplaceAll(text, "DIR", dir)))
	}
	var theirs []map[string]any
	if err := json.Unmarshal([]byte(python(t.Context(), t, args...)), &theirs); err != nil {
		t.Fatal(err)
	}
	compared := 0
	for i, name := range names {
		c, err := config.Load(args[2+i], nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		ours := effective(t, c)
		if !reflect.DeepEqual(ours, theirs[i]) {
			t.Errorf("%s: got\n%v, Python has\n%v", name, ours, theirs[i])
		}
		compared += len(ours) - 1
		for _, pool := range ours["pools"].([]any) {
			compared += len(pool.(map[string]any))
		}
	}
	paired(t, "configuration: %d files, %d values, the same in both", len(names), compared)
}

// effective gives a configuration in the words of settings.py.
func effective(t *testing.T, c *config.Config) (values map[string]any) {
	t.Helper()
	pools := make([]map[string]any, len(c.Pools))
	for i, p := range c.Pools {
		pools[i] = map[string]any{"type": p.Type, "name": p.Name, "shard_max_size": p.ShardMaxSize}
		switch p.Type {
		case config.Directory:
			pools[i]["base_directory"], pools[i]["use_permissions"] = p.BaseDirectory, p.UsePermissions
		case config.Mosaic:
			pools[i]["base_directory"], pools[i]["compression_level"] = p.BaseDirectory, nil
			if p.Compression {
				pools[i]["compression_level"] = p.CompressionLevel
			}
		case config.MosaicS3:
			pools[i]["base_url"], pools[i]["image_extension"] = strings.TrimRight(p.S3.BaseURL, "/")+"/"+p.Name, p.S3.ImageExtension
			pools[i]["tmp_directory"], pools[i]["read_only"] = p.S3.TmpDirectory, p.S3.ReadOnly
			pools[i]["endpoint"], pools[i]["region"], pools[i]["compression_level"] = p.S3.Endpoint, p.S3.Region, nil
			if p.Compression {
				pools[i]["compression_level"] = p.CompressionLevel
			}
		default:
			pools[i]["data_pool"], pools[i]["features_unsupported"] = p.DataPool, append([]string{}, p.FeaturesUnsupported...)
			pools[i]["use_sudo"], pools[i]["map_options"] = p.UseSudo, p.MapOptions
		}
	}
	text, err := json.Marshal(map[string]any{
		"dsn": c.Database.DSN, "application_name": c.Database.ApplicationName,
		"active_pool": c.ActivePool, "create_images": c.Packer.CreateImages,
		"idle_timeout": c.RWIdleTimeout.Seconds(), "readers_cache_size": c.ReadersCacheSize,
		"allow_delete": c.AllowDelete, "name": c.Name, "readonly": c.ReadOnly, "pools": pools,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &values); err != nil {
		t.Fatal(err)
	}
	return values
}

// Both find a database by each form of name that psycopg accepts.
func TestConnectionStrings(t *testing.T) {
	o := fleettest.Options(t)
	u, err := url.Parse(o.DSN)
	if err != nil {
		t.Fatal(err)
	}
	host, port, user, database := u.Hostname(), u.Port(), u.User.Username(), strings.TrimPrefix(u.Path, "/")
	password, _ := u.User.Password()
	services := write(t, fmt.Sprintf("[other]\nhost=nowhere\n[cellar]\nhost=%s\nport=%s\nuser=%s\npassword=%s\ndbname=%s\n",
		host, port, user, password, database))
	server := map[string]string{"PGHOST": host, "PGPORT": port, "PGUSER": user, "PGPASSWORD": password}
	forms := []struct {
		name, dsn string
		env       map[string]string
	}{
		{"URL", o.DSN, nil},
		{"key=value", fmt.Sprintf("host='%s' port = %s user=%s password='%s' dbname=%s", host, port, user, password, database), nil},
		{"service", "service=cellar", map[string]string{"PGSERVICEFILE": services}},
		{"key=value, server in the environment", "dbname=" + database, server},
		{"URL, server in the environment", "postgresql:///" + database, server},
	}
	const shard = "i0123456789abcdef0123456789abcde"
	for i, form := range forms {
		t.Run(form.name, func(t *testing.T) {
			for name, value := range form.env {
				t.Setenv(name, value)
			}
			o.DSN = form.dsn
			o.Dir, o.ShardMaxSize = t.TempDir(), shardMaxSize
			file := upgradeConfig(t, o)
			ours := func(args ...string) string {
				out, status := program(t.Context(), t, o, "wineryctl", append([]string{"--config", file}, args...)...)
				if status != 0 {
					t.Fatal(out)
				}
				return out
			}
			if i == 0 {
				ours("db", "init")
				sql(t.Context(), t, o.DSN, fmt.Sprintf("INSERT INTO shards (name, pool_name) VALUES ('%s', 'shards')", shard))
			}
			if out := ours("db", "version"); out != "5\n" {
				t.Errorf("wineryctl db version printed %q", out)
			}
			var shards []struct{ Name string }
			if err := json.Unmarshal([]byte(ours("shards", "list", "--output", "json")), &shards); err != nil {
				t.Fatal(err)
			}
			if len(shards) != 1 || shards[0].Name != shard {
				t.Errorf("wineryctl found the shards %v", shards)
			}
			theirs := strings.Fields(python(t.Context(), t, "testdata/settings.py", "shards", file))
			if want := []string{database, shard}; !slices.Equal(theirs, want) {
				t.Errorf("Python found %q, want %q", theirs, want)
			}
		})
	}
	paired(t, "configuration: %d forms of DSN reach the same database in both", len(forms))
}

// write makes a file in a folder of its own.
func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
