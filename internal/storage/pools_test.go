// SPDX-License-Identifier: GPL-3.0-or-later

package storage_test

import (
	"strings"
	"testing"

	"winery/internal/config"
	"winery/internal/storage"
	"winery/mosaic"
	"winery/pool/directory"
	"winery/pool/s3"
	"winery/rbd"
	"winery/shard"
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

// The configuration knows the limit of the format, without the format.
func TestMaxMosaicObject(t *testing.T) {
	if config.MaxMosaicObject != mosaic.MaxObjectSize {
		t.Errorf("%d and %d", config.MaxMosaicObject, mosaic.MaxObjectSize)
	}
}
