// SPDX-License-Identifier: GPL-3.0-or-later

package writer

import (
	"log/slog"
	"maps"
	"testing"

	"winery/internal/config"
	"winery/test/logtest"
)

// TestOtherPools: a writer fills standby shards only of pools that can take any object,
// and says once which it leaves out.
func TestOtherPools(t *testing.T) {
	pools := []config.Pool{
		{Name: "active", Type: config.RBD, ShardMaxSize: 1},
		{Name: "images", Type: config.RBD, ShardMaxSize: 2},
		{Name: "files", Type: config.Directory, ShardMaxSize: 3},
		{Name: "mosaics", Type: config.Mosaic, ShardMaxSize: 4},
		{Name: "far", Type: config.MosaicS3, ShardMaxSize: 5},
		{Name: "read", Type: config.MosaicS3, ShardMaxSize: 6, S3: config.S3{ReadOnly: true}},
		{Name: "public", Type: config.MosaicS3, ShardMaxSize: 7, S3: config.S3{Anonymous: true}},
	}
	for _, test := range []struct {
		maxObjectSize int64
		active        string
		want          map[string]int64
		left          int // out, of which the log tells
	}{
		{config.MaxMosaicObject, "active", map[string]int64{"images": 2, "files": 3, "mosaics": 4, "far": 5}, 2},
		{config.MaxMosaicObject + 1, "active", map[string]int64{"images": 2, "files": 3}, 4},
		{config.MaxMosaicObject, "read", map[string]int64{"active": 1, "images": 2, "files": 3, "mosaics": 4, "far": 5}, 1},
	} {
		var log logtest.Log
		c := &config.Config{Pools: pools, ActivePool: test.active, Winery: config.Winery{MaxObjectSize: test.maxObjectSize}}
		w := newWriter(Options{Config: c}, log.Logger(slog.LevelInfo))
		if !maps.Equal(w.OtherPools, test.want) || w.Pool != test.active || w.ShardMaxSize < 1 {
			t.Errorf("%+v: pool %s, others %v", test, w.Pool, w.OtherPools)
		}
		if n := len(log.Lines("standby shards of a pool are not filled")); n != test.left {
			t.Errorf("%+v: %d lines:\n%s", test, n, &log)
		}
		if warned := len(log.Lines("shards of the active pool cannot be packed")) == 1; warned != (test.active == "read") {
			t.Errorf("%+v:\n%s", test, &log)
		}
	}
}
