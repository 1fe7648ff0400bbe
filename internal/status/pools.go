// SPDX-License-Identifier: GPL-3.0-or-later

package status

import (
	"fmt"
	"maps"
	"slices"

	"github.com/dustin/go-humanize/english"

	"winery/internal/config"
)

func poolsNotConfigured(f *facts) []Problem {
	n := map[string]int64{}
	for _, s := range f.shards {
		if !slices.ContainsFunc(f.source.Pools, func(p config.Pool) bool { return p.Name == s.Pool }) {
			n[s.Pool] += s.Shards
		}
	}
	var on []string
	for _, name := range slices.Sorted(maps.Keys(n)) {
		on = append(on, fmt.Sprintf("pool %s, with %s", name, english.Plural(int(n[name]), "shard", "shards")))
	}
	return several(PoolNotConfigured, Error, english.Plural(len(on), "pool that has shards is", "pools that have shards are")+" not configured on this host", on,
		"add the pool to shards_pools on each host")
}

func poolsUnusable(f *facts) []Problem {
	var on []string
	for _, p := range f.pools {
		if p.Error != "" {
			on = append(on, p.Error)
		}
	}
	return several(PoolUnusable, Error, english.Plural(len(on), "pool", "pools")+" cannot be used from this host", on,
		"wineryctl pool list; see The identity of a pool in /usr/share/doc/winery/operations.md")
}
