// SPDX-License-Identifier: GPL-3.0-or-later

package main_test

import (
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"winery/internal/packer"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/roletest"
)

// TestExportDamaged packs a shard whose table has damaged rows of every kind: the
// shard is quarantined, the reason names the command to run, and afterwards the shard
// is packed.
func TestExportDamaged(t *testing.T) {
	for name, damage := range map[string]string{
		"foreign id": strings.Repeat("ab", 32),
		"zero id":    strings.Repeat("00", 32),
		"short key":  "abcdef",
		"null":       strings.Repeat("cd", 32),
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, roletest.Directory(t, ""))
			s.must(t, "db", "init")
			ctx := t.Context()
			claim, err := s.base.CreateShard(ctx, "files")
			expect.NoError(t, err)
			objects := roletest.Objects(1, 5, 1000)
			_, err = s.base.Add(ctx, claim, objects)
			expect.NoError(t, err)
			expect.NoError(t, claim.SetState(ctx, sharedbase.StateFull))
			content, file := "'damaged'", damage+".content"
			if name == "null" {
				content, file = "NULL", damage+".null"
			}
			s.sql(t, fmt.Sprintf(`INSERT INTO shard_%s VALUES ('\x%s', %s)`, claim.Name(), damage, content))
			s.sql(t, fmt.Sprintf(`INSERT INTO signature2shard VALUES ('\x%s', 'present', %d)`, damage, claim.ID()))

			p := packer.New(packer.Options{Base: s.base, Pools: s.pools, Log: slog.New(slog.DiscardHandler)})
			command := "wineryctl shards export-damaged " + claim.Name()
			if _, err := p.Step(ctx); err == nil || !strings.Contains(err.Error(), command) {
				t.Errorf("packing: %v", err)
			}
			if rows := s.rows(t, "shards", "quarantined"); len(rows) != 1 || !strings.Contains(rows[0]["reason"].(string), command) {
				t.Fatalf("quarantined: %v", rows)
			}
			dir := filepath.Join(t.TempDir(), "damaged")
			expect.NoError(t, os.Mkdir(dir, 0o700))
			write(t, dir, "other", "")
			s.fails(t, 1, "must be new or empty", "shards", "export-damaged", claim.Name(), dir)
			dir = filepath.Join(t.TempDir(), "damaged")
			if got := s.must(t, "shards", "export-damaged", claim.Name(), dir); !strings.Contains(got, "moved 1 damaged rows") {
				t.Errorf("said %q", got)
			}
			files := map[string]string{}
			entries, err := os.ReadDir(dir)
			expect.NoError(t, err)
			for _, e := range entries {
				text, err := os.ReadFile(filepath.Join(dir, e.Name()))
				expect.NoError(t, err)
				files[e.Name()] = string(text)
			}
			want := map[string]string{file: "damaged"}
			if name == "null" {
				want[file] = ""
			}
			if !maps.Equal(files, want) {
				t.Errorf("files %v, want %v", files, want)
			}
			if n := s.sql(t, "SELECT count(*) FROM signature2shard"); n != "5" {
				t.Errorf("%s rows in the index, want 5", n)
			}
			if worked, err := p.Step(ctx); !worked || err != nil {
				t.Errorf("packing after the export: %v, %v", worked, err)
			}
			s.fails(t, 1, "only the table of a full or standby shard", "shards", "export-damaged", claim.Name(), dir)
		})
	}
}

// TestSeal marks standby shards as full, except empty shards and shards with a holder.
func TestSeal(t *testing.T) {
	s := newSite(t, roletest.Directory(t, ""))
	s.must(t, "db", "init")
	ctx := t.Context()
	var names []string
	for i := range 4 {
		claim, err := s.base.CreateShard(ctx, "files")
		expect.NoError(t, err)
		if i < 2 {
			_, err = s.base.Add(ctx, claim, roletest.Objects(uint64(i), 5, 1000))
			expect.NoError(t, err)
		}
		names = append(names, claim.Name())
		if i < 3 {
			expect.NoError(t, claim.Release(ctx))
		}
	}
	s.fails(t, 78, "NAMEs of shards or --pool-name", "shards", "seal")
	s.fails(t, 1, "cannot be sealed", "shards", "seal", names[3])
	if got := s.must(t, "shards", "seal", names[0]); got != names[0]+": full\n" {
		t.Errorf("one shard: %q", got)
	}
	got := strings.Split(s.must(t, "shards", "seal", "--pool-name", "files"), "\n")
	if !slices.Equal(got, []string{names[1] + ": full", names[2] + ": empty, stays standby", ""}) {
		t.Errorf("the pool: %q", got)
	}
	s.fails(t, 78, "--pool-name: found \"filse\"", "shards", "seal", "--pool-name", "filse")
}
