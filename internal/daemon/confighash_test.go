// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"fmt"
	"testing"

	"winery/internal/config"
)

// Hosts with the same settings have the same hash, wherever the file is and whatever
// the password; another setting gives another hash, also one that is a default.
func TestConfigHash(t *testing.T) {
	hash := func(file, password, more string) string {
		t.Helper()
		c, err := config.Parse(file, fmt.Appendf(nil, `
objstorage:
  cls: winery
  database: {db: "postgresql://winery:%s@db/winery"}
  shards_pools: [{type: directory, base_directory: /srv, shard_max_size: 1000}]
  shards_active_pool: shards
%s`, password, more))
		if err != nil {
			t.Fatal(err)
		}
		return configHash(c)
	}
	base := hash("/etc/winery.yml", "first", "")
	for _, same := range []string{hash("/run/winery.yml", "second", ""), hash("/etc/winery.yml", "first", "  rw_idle_timeout: 300\n")} {
		if same != base {
			t.Errorf("the same settings have the hashes %s and %s", base, same)
		}
	}
	for _, setting := range []string{"  rw_idle_timeout: 299\n", "winery: {lease: 30}\n", "  allow_delete: true\n"} {
		if hash("/etc/winery.yml", "first", setting) == base {
			t.Errorf("%q does not change the hash", setting)
		}
	}
}
