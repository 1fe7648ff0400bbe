// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"winery/internal/config"
	"winery/test/expect"
)

// TestOnlyWritersCacheReads: what the units of other roles may not write.
func TestOnlyWritersCacheReads(t *testing.T) {
	folder := t.TempDir()
	far := config.Pool{Type: config.MosaicS3, Name: "far", S3: config.S3{
		BaseURL: "s3://bucket", ReadOnly: true, Endpoint: "http://127.0.0.1:1", CacheDirectory: folder, CacheSize: 1 << 20,
	}}
	for program, want := range map[string]int{"winery-writer": 1, "winery-packer": 0, "winery-rbd-mapper": 0, "winery-cleaner": 0} {
		e := &Env{Config: &config.Config{Pools: []config.Pool{far}}, CLI: cli.NewContext(&cli.App{Name: program}, nil, nil)}
		set, err := e.openPools()
		expect.NoError(t, err)
		caches := 0
		files, err := filepath.Glob("/proc/self/fd/*")
		expect.NoError(t, err)
		for _, file := range files {
			if to, err := os.Readlink(file); err == nil && strings.HasPrefix(to, folder) {
				caches++
			}
		}
		if caches != want {
			t.Errorf("%s has %d caches, want %d", program, caches, want)
		}
		expect.NoError(t, set.Close())
	}
}
