// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"winery/test/expect"
)

// TestReader: a read-only writer has a role of its own, so that it never counts as one
// that can store objects.
func TestReader(t *testing.T) {
	for readonly, role := range map[bool]string{false: "writer", true: "reader"} {
		path := filepath.Join(t.TempDir(), "winery.yml")
		expect.NoError(t, os.WriteFile(path, fmt.Appendf(nil, `
objstorage:
  cls: winery
  readonly: %t
  database: {db: "postgresql://nobody@127.0.0.1:1/none"}
  shards_pools: [{type: directory, base_directory: %q, shard_max_size: 1000000}]
  shards_active_pool: shards
winery: {listen: "127.0.0.1:0"}
`, readonly, t.TempDir()), 0o600))
		_, log := start(t, path)
		log.Wait(t, "msg=starting role="+role)
	}
}
