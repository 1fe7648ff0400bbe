// SPDX-License-Identifier: GPL-3.0-or-later

package main_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/roletest"
)

func TestOpenShards(t *testing.T) {
	s := newSite(t, roletest.Directory(t, ""))
	s.must(t, "db", "init")
	ctx := t.Context()
	writing, err := s.base.CreateShard(ctx, "files")
	expect.NoError(t, err)
	_, err = s.base.Add(ctx, writing, roletest.Objects(1, 5, 1000))
	expect.NoError(t, err)
	_, err = s.base.ImportShard(ctx, "done", "files", sharedbase.ImageRecord{}, func(func(sharedbase.ObjID, error) bool) {})
	expect.NoError(t, err)
	if rows := s.rows(t, "shards", "list"); len(rows) != 2 || rows[0]["table"] != nil || rows[1]["image"] != nil {
		t.Errorf("%v", rows)
	}
	_, err = s.base.ClaimImage(ctx, "done")
	expect.NoError(t, err)
	if rows := s.rows(t, "shards", "list"); !strings.HasPrefix(fmt.Sprint(rows[1]["image"]), "map[holder:test on ") {
		t.Errorf("holder of the image: %v", rows[1]["image"])
	}
	rows := s.rows(t, "shards", "list", "--open", "-l")
	if len(rows) != 1 || rows[0]["name"] != writing.Name() {
		t.Fatalf("%v", rows)
	}
	host, err := os.Hostname()
	expect.NoError(t, err)
	if holder := fmt.Sprintf("test on %s (pid %d)", host, os.Getpid()); rows[0]["holder"] != holder || rows[0]["until"] == nil {
		t.Errorf("held by %v, want %s", rows[0], holder)
	}
	if table := rows[0]["table"].(map[string]any); table["objects"] != 5.0 || table["bytes"].(float64) < 100 || table["max_size"] != 4194304.0 {
		t.Errorf("%v", table)
	}
	lines := strings.Split(s.must(t, "shards", "list", "--long"), "\n")
	if !strings.Contains(lines[0], "IMAGE") || !strings.HasSuffix(lines[0], "TABLE") || !strings.Contains(lines[1], "5 objects, ") || !strings.HasSuffix(lines[1], "%)") || !strings.HasSuffix(lines[2], "-") {
		t.Errorf("%q", lines)
	}
	s.fails(t, 78, "exclude", "shards", "list", "--open", "--state", "full")
}

func TestStaleAndRelease(t *testing.T) {
	s := newSite(t, roletest.Directory(t, ""))
	s.must(t, "db", "init")
	if got := s.must(t, "shards", "release"); got != "no stale shard\n" {
		t.Errorf("released nothing: %q", got)
	}
	to := map[sharedbase.ShardState]sharedbase.ShardState{"writing": "standby", "packing": "full", "cleaning": "packed"}
	names := map[sharedbase.ShardState]string{}
	for state := range to {
		names[state] = "shard" + string(state)
		s.sql(t, "INSERT INTO shards (name, state, pool_name, locker, locker_ts) VALUES ('"+names[state]+"', '"+string(state)+
			"', 'files', gen_random_uuid(), now() - interval '49 hours')")
	}
	s.sql(t, `INSERT INTO shards (name, state, pool_name, locker, locker_ts) VALUES
		('young', 'writing', 'files', gen_random_uuid(), now() - interval '1 hour'),
		('import', 'importing', 'files', gen_random_uuid(), now() - interval '3 days'),
		('nobodys', 'standby', 'files', NULL, now() - interval '3 days')`)

	held, err := s.base.CreateShard(t.Context(), "files")
	expect.NoError(t, err)
	alive := func(says string, args ...string) {
		t.Helper()
		args = append([]string{"shards", "release", "-d", "0s", "--shard", held.Name()}, args...)
		s.fails(t, 1, says, args...)
		expect.NoError(t, held.Verify(t.Context()))
	}
	host, err := os.Hostname()
	expect.NoError(t, err)
	alive(fmt.Sprintf("%s is held by test on %s (pid %d), whose lease lasts until 2", held.Name(), host, os.Getpid()))
	alive("stop that process, or use --force", "--dry-run")
	s.must(t, "shards", "release", "-d", "0s", "--shard", held.Name(), "--force")
	if err := held.Verify(t.Context()); err == nil {
		t.Errorf("after --force: %v", err)
	}
	s.sql(t, "DELETE FROM shards WHERE name = '"+held.Name()+"'")

	for want, name := range map[string]string{
		"young: the shard is locked by":                "young",
		"nobodys: the shard is standby and not locked": "nobodys",
		"shardabsent: no such shard":                   "shardabsent",
		"import: the shard is importing; if":           "import",
	} {
		s.fails(t, 1, want, "shards", "release", "--force", "--shard", name)
	}

	stale := func(args ...string) (found []string) {
		t.Helper()
		for _, row := range s.rows(t, append([]string{"shards", "stale"}, args...)...) {
			found = append(found, row["name"].(string))
		}
		slices.Sort(found)
		return found
	}
	all := []string{"import", "shardcleaning", "shardpacking", "shardwriting"}
	for _, test := range []struct{ args, want []string }{
		{nil, all},
		{[]string{"--duration", "2d"}, all},
		{[]string{"-d", "50h"}, []string{"import"}},
		{[]string{"-d", "30 minutes"}, append(slices.Clone(all), "young")},
		{[]string{"-d", "0s", "--state", "writing"}, []string{"shardwriting", "young"}},
		{[]string{"-d", "1w"}, nil},
	} {
		if got := stale(test.args...); !slices.Equal(got, test.want) {
			t.Errorf("stale %v: %v, expected %v", test.args, got, test.want)
		}
	}
	s.fails(t, 78, "48h", "shards", "stale", "--duration", "1 fortnight")
	s.fails(t, 78, "UUID", "shards", "release", "--locker", "me")

	locker := s.sql(t, "SELECT locker FROM shards WHERE name = 'shardpacking'")
	dry := s.rows(t, "shards", "release", "--dry-run", "--locker", strings.ToUpper(locker))
	if len(dry) != 1 || dry[0]["name"] != "shardpacking" || dry[0]["to"] != "full" {
		t.Errorf("dry run: %v", dry)
	}
	if got := stale(); !slices.Equal(got, all) {
		t.Errorf("a dry run left %v", got)
	}
	if got := s.must(t, "shards", "release", "--shard", "shardpacking"); strings.Count(got, "\n") != 1 ||
		!strings.Contains(got, "released shardpacking: packing → full, locked by "+locker) {
		t.Errorf("released %q", got)
	}
	got := s.must(t, "shards", "release", "--duration", "1h30m")
	if strings.Count(got, "released ") != 2 || !strings.Contains(got, "ignored import: the shard is importing") {
		t.Errorf("released %q", got)
	}
	if got := s.must(t, "shards", "release"); !strings.HasPrefix(got, "ignored import: ") || strings.Count(got, "\n") != 1 {
		t.Errorf("with an import alone: %q", got)
	}
	for state, name := range names {
		if now := s.sql(t, "SELECT state, locker IS NULL FROM shards WHERE name = '"+name+"'"); now != string(to[state])+"|t" {
			t.Errorf("%s is %s, expected %s", name, now, to[state])
		}
	}
	if now := s.sql(t, "SELECT string_agg(state::text, ',' ORDER BY name) FROM shards WHERE name IN ('young', 'import', 'nobodys')"); now != "importing,standby,writing" {
		t.Errorf("the others are %s", now)
	}
}
