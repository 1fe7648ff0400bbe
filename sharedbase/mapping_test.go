// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"slices"
	"testing"

	"winery/sharedbase"
)

func shardsToMap(t *testing.T, b *sharedbase.SharedBase, f sharedbase.MappingFilter) (shards []sharedbase.ShardToMap) {
	t.Helper()
	for s, err := range b.ShardsToMap(t.Context(), f) {
		if err != nil {
			t.Fatal(err)
		}
		shards = append(shards, s)
	}
	return shards
}

func TestShardsToMap(t *testing.T) {
	b, _ := newBase(t)
	shardIn(t, b, sharedbase.StateFull)
	packed, readonly := shardIn(t, b, sharedbase.StatePacked), shardIn(t, b, sharedbase.StateReadOnly)
	cleaning := shardIn(t, b, sharedbase.StatePacked)
	claim(t, b, cleaning, sharedbase.StateCleaning)
	for _, host := range []string{"a", "b"} {
		must(b.RecordShardMapped(t.Context(), host, readonly.Pool, readonly.Name))(t)
	}
	must(b.RecordShardMapped(t.Context(), "b", packed.Pool, packed.Name))(t)
	pools := []string{"pool", "other"}
	for what, c := range map[string]struct {
		filter sharedbase.MappingFilter
		want   []int64
	}{
		"all":            {sharedbase.MappingFilter{Host: "a", Pools: pools}, []int64{packed.ID, readonly.ID, cleaning.ID}},
		"unrecorded":     {sharedbase.MappingFilter{Host: "a", Pools: pools, Unrecorded: true}, []int64{packed.ID, cleaning.ID}},
		"another host":   {sharedbase.MappingFilter{Host: "c", Pools: pools, Unrecorded: true}, []int64{packed.ID, readonly.ID, cleaning.ID}},
		"another pool":   {sharedbase.MappingFilter{Host: "a", Pools: pools[1:]}, nil},
		"prefix":         {sharedbase.MappingFilter{Host: "a", Pools: pools, Prefix: packed.Name[:10]}, []int64{packed.ID}},
		"not a pattern":  {sharedbase.MappingFilter{Host: "a", Pools: pools, Prefix: "%"}, nil},
		"without a pool": {sharedbase.MappingFilter{Host: "a"}, nil},
	} {
		var got []int64
		for _, s := range shardsToMap(t, b, c.filter) {
			got = append(got, s.ID)
			if s.Recorded != (c.filter.Host == "a" && s.ID == readonly.ID) {
				t.Errorf("%s: shard %d is recorded: %v", what, s.ID, s.Recorded)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", what, got, c.want)
		}
	}
}

// TestShardsToMapPages lists more shards than fit a page, each once.
func TestShardsToMapPages(t *testing.T) {
	const shards = 2500
	b, conn := newBase(t)
	exec(t, conn, `INSERT INTO shards (name, state, pool_name, mapped_on_hosts_when_packed)
		SELECT 'i' || to_char(n, 'FM0000000000000000000000000000000'), 'readonly', 'pool', CASE WHEN n % 2 = 0 THEN '{a}' ELSE '{}' END::text[]
		FROM generate_series(1, $1) n`, shards)
	all := shardsToMap(t, b, sharedbase.MappingFilter{Host: "a", Pools: []string{"pool"}})
	lacking := shardsToMap(t, b, sharedbase.MappingFilter{Host: "a", Pools: []string{"pool"}, Unrecorded: true})
	if len(all) != shards || len(lacking) != shards/2 {
		t.Errorf("%d shards, %d of them not recorded; want %d and %d", len(all), len(lacking), shards, shards/2)
	}
	for _, list := range [][]sharedbase.ShardToMap{all, lacking} {
		if !slices.IsSortedFunc(list, func(a, b sharedbase.ShardToMap) int { return int(a.ID - b.ID) }) {
			t.Error("not in the order of their ids")
		}
	}
}
