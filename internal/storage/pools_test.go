// SPDX-License-Identifier: GPL-3.0-or-later

package storage_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"winery/internal/config"
	"winery/internal/storage"
	"winery/mosaic"
	"winery/pool"
	"winery/pool/directory"
	"winery/pool/s3"
	"winery/rbd"
	"winery/shard"
	"winery/test/logtest"
)

func TestOpen(t *testing.T) {
	set, err := storage.Open([]config.Pool{
		{Type: config.Directory, Name: "files", BaseDirectory: t.TempDir()},
		{Type: config.Mosaic, Name: "mosaics", BaseDirectory: t.TempDir(), Compression: true, CompressionLevel: 9},
		{Type: config.MosaicS3, Name: "far", Compression: true, S3: config.S3{BaseURL: "s3://bucket", TmpDirectory: "/tmp", Endpoint: "http://127.0.0.1:1"}},
		{Type: config.RBD, Name: "images", ShardMaxSize: 1, Map: config.MapLibrbd, CephConf: "/nowhere/ceph.conf"},
	}, true)
	if err != nil {
		t.Fatal(err) // not even for the Ceph that is not there
	}
	if _, ok := set["files"].(*directory.Pool); !ok || len(set) != 4 || set["files"].Format() != (shard.Format{}) {
		t.Errorf("%v", set)
	}
	if p, ok := set["mosaics"].(*directory.Pool); !ok || p.Format() != (mosaic.Format{Zstd: true, Level: 9}) {
		t.Errorf("%v", set)
	}
	if p, ok := set["far"].(*s3.Pool); !ok || p.Format() != (mosaic.Format{Zstd: true}) {
		t.Errorf("%v", set)
	}
	if _, ok := set["images"].(*rbd.Pool); !ok {
		t.Errorf("%v", set)
	}
	if err := set.Close(); err != nil {
		t.Error(err)
	}
}

// far is a mosaic-s3 pool that no store answers for.
func far(name string, change func(*config.S3)) config.Pool {
	c := config.Pool{Type: config.MosaicS3, Name: name, S3: config.S3{BaseURL: "s3://bucket", ReadOnly: true, Endpoint: "http://127.0.0.1:1"}}
	change(&c.S3)
	return c
}

// TestCache: a cache is opened only to serve reads, and a pool whose cache cannot be
// opened works without it.
func TestCache(t *testing.T) {
	folder := t.TempDir()
	for _, directory := range []string{folder, "/nonexistent"} {
		configured := []config.Pool{
			{Type: config.Directory, Name: "files", BaseDirectory: t.TempDir()},
			far("far", func(s *config.S3) { s.CacheDirectory, s.CacheSize = directory, 1<<20 }),
		}
		for what, open := range map[string]func() (storage.Set, error){
			"to serve": func() (storage.Set, error) { return storage.OpenToServe(configured) },
			"else":     func() (storage.Set, error) { return storage.Open(configured, true) },
		} {
			files := openFiles(t, folder)
			var log logtest.Log
			was := slog.Default()
			slog.SetDefault(log.Logger(slog.LevelInfo))
			set, err := open()
			slog.SetDefault(was)
			if err != nil || len(set) != 2 {
				t.Fatalf("%s, %s: %v, %v", directory, what, set, err)
			}
			cached := openFiles(t, folder) - files
			warned := len(log.Lines("reads are not cached"))
			if served := what == "to serve"; (cached == 1) != (served && directory == folder) || (warned == 1) != (served && directory != folder) {
				t.Errorf("%s, %s: %d caches, %d warnings:\n%s", directory, what, cached, warned, &log)
			}
			if err := set.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// openFiles returns how many files below a folder this process has open.
func openFiles(t *testing.T, folder string) (n int) {
	t.Helper()
	files, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if to, err := os.Readlink(file); err == nil && strings.HasPrefix(to, folder) {
			n++
		}
	}
	return n
}

// TestOpenToReport: a pool that cannot be opened says why, and the others are open.
func TestOpenToReport(t *testing.T) {
	set := storage.OpenToReport([]config.Pool{
		{Type: config.Directory, Name: "files", BaseDirectory: t.TempDir()},
		far("far", func(s *config.S3) { s.CABundle = "/nonexistent" }),
	})
	if _, err := set["files"].Marker(t.Context()); !errors.Is(err, pool.ErrNoPool) {
		t.Errorf("files: %v", err)
	}
	bad := set["far"]
	_, err := bad.Marker(t.Context())
	_, spaceErr := bad.Space(t.Context())
	for _, err := range []error{err, spaceErr, bad.CheckAccess(t.Context(), true)} {
		if bad.Name() != "far" || err == nil || !strings.Contains(err.Error(), "far: ") || !strings.Contains(err.Error(), "/nonexistent") {
			t.Errorf("far: %v", err)
		}
	}
	if err := set.Close(); err != nil {
		t.Error(err)
	}
}

func TestOpenFails(t *testing.T) {
	good := config.Pool{Type: config.Directory, Name: "good", BaseDirectory: t.TempDir()}
	for _, bad := range []config.Pool{
		{Type: "tape", Name: "bad"},
		{Type: config.Directory, Name: "bad/name", BaseDirectory: t.TempDir()},
		{Type: config.RBD, Name: "bad"},
		{Type: config.MosaicS3, Name: "bad", S3: config.S3{BaseURL: "s3://", TmpDirectory: "/tmp"}},
	} {
		_, err := storage.Open([]config.Pool{good, bad}, true)
		if err == nil || !strings.Contains(err.Error(), "bad") || strings.Contains(err.Error(), "good") {
			t.Errorf("%v: %v", bad.Type, err)
		}
	}
}

// What the configuration accepts, Open does not refuse: `wineryctl config check` would
// otherwise approve of a file with which no role starts.
func TestOpenWhatIsConfigured(t *testing.T) {
	const files, objects, images = "type: directory, base_directory: /srv", "type: mosaic-s3, base_url: 's3://bucket', tmp_directory: /tmp", "type: rbd, map: librbd, ceph_conf: /nowhere"
	for entry, refused := range map[string]string{
		files + ", pool_name: shards-2_":                          "",
		files + ", pool_name: a.b":                                "pool_name",
		files + ", pool_name: a b":                                "pool_name",
		files + ", pool_name: -a":                                 "pool_name",
		files + ", pool_name: " + strings.Repeat("a", 65):         "pool_name",
		"type: mosaic, base_directory: /srv, pool_name: a.b":      "pool_name",
		objects + ", pool_name: a.b":                              "pool_name",
		objects + ", image_extension: a/b":                        "image_extension",
		objects + ", image_extension: .mosaic":                    "",
		objects + ", addressing: virtual":                         "",
		images + ", pool_name: .rgw.root":                         "", // a name that Ceph has
		images + ", image_features_unsupported: [exclusive-lock]": "image_features_unsupported",
		images + ", image_features_unsupported: [striping, object-map, fast-diff, deep-flatten, journaling]": "",
	} {
		c, err := config.Parse("f.yml", []byte("objstorage: {cls: winery, readonly: true, database: {db: dbname=winery}, shards_pools: [{"+entry+", shard_max_size: 7}]}"))
		if refused != "" {
			if err == nil || !strings.Contains(err.Error(), "."+refused) {
				t.Errorf("%s: error %v", entry, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", entry, err)
			continue
		}
		set, err := storage.Open(c.Pools, true)
		if err != nil {
			t.Errorf("%s: %v", entry, err)
			continue
		}
		if err := set.Close(); err != nil {
			t.Error(err)
		}
	}
}

// The configuration knows the limit of the format, without the format.
func TestMaxMosaicObject(t *testing.T) {
	if config.MaxMosaicObject != mosaic.MaxObjectSize {
		t.Errorf("%d and %d", config.MaxMosaicObject, mosaic.MaxObjectSize)
	}
}
