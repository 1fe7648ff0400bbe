// SPDX-License-Identifier: GPL-3.0-or-later

package interop

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"winery/sharedbase"
	"winery/test/fleettest"
	"winery/test/harness"
	"winery/test/pgtest"
)

// wineryctl upgrades databases that old releases created and filled; Go Winery
// and the current Python Winery then serve them.
func TestUpgrade(t *testing.T) {
	for _, old := range []struct {
		release   string
		version   int
		preparing bool     // by Python's prepare-upgrade, which stores the pool
		args      []string // that wineryctl needs
		states    []string // that its shards are left in
	}{
		{"3.0.0", 1, false, []string{"--pool-name", harness.PoolName}, []string{"full", "standby"}},
		{"5.2.0", 2, false, []string{"--pool-name", harness.PoolName}, []string{"full", "packed", "readonly", "standby"}},
		{"6.2.0", 3, false, []string{"--pool-name", harness.PoolName}, []string{"full", "packed", "readonly", "standby"}},
		{"6.2.0", 3, true, nil, []string{"full", "packed", "readonly", "standby"}},
		{"7.1.1", 4, false, nil, []string{"full", "packed", "readonly", "standby"}},
	} {
		name := old.release
		if old.preparing {
			name += ", prepared by Python"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := fleettest.Options(t)
			o.ShardMaxSize = shardMaxSize
			tree := oldTree(t)
			states, gone := makeOld(t, old.release, o, tree)
			if !slices.Equal(states, old.states) {
				t.Fatalf("the shards are %v, want %v", states, old.states)
			}
			ctx := fleettest.Within(t)
			if old.preparing {
				before := inPython{&harness.Fleet{File: upgradeConfig(t, o)}}
				before.command(ctx, t, "prepare-upgrade", "--pool-name", harness.PoolName, "--assume-yes")
			}
			upgrade(ctx, t, o, old.version, old.args)
			readByGo, readByPython := serveUpgraded(ctx, t, o, tree, gone)
			paired(t, "upgrade from %s (schema %d): %d objects, read by Go %d, by Python %d",
				name, old.version, len(tree.Paths)-len(gone), readByGo, readByPython)
		})
	}
}

// oldTree makes 240 files, one of them empty: three shards of 80,000 bytes, and
// half of another one.
func oldTree(t *testing.T) *harness.Source {
	t.Helper()
	root := t.TempDir()
	for i := range 240 {
		content := strings.Repeat(fmt.Sprintf("Object %d was stored by an old release.\n", i), i%60)
		if i > 0 {
			content += fmt.Sprint(i)
		}
		if err := os.WriteFile(filepath.Join(root, fmt.Sprint(i)), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tree, err := harness.ReadSource(root)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// makeOld has an old release make and fill a database, by a Python that it
// installs first. It gives the states that the shards are in, each once, and
// the objects that were deleted.
func makeOld(t *testing.T, release string, o harness.Options, tree *harness.Source) (states []string, gone map[[32]byte]bool) {
	t.Helper()
	interpreter := run(t, nil, "../../scripts/python-venv", "../../.cache/python-"+release, release)
	out := run(t, nil, strings.TrimSpace(interpreter), "testdata/old_winery.py", release, o.DSN, o.Dir, "80000", tree.Root)
	var made struct{ States, Gone []string }
	if err := json.Unmarshal([]byte(out), &made); err != nil {
		t.Fatalf("%v: %q", err, out)
	}
	gone = map[[32]byte]bool{}
	for _, id := range made.Gone {
		raw, err := hex.DecodeString(id)
		if err != nil {
			t.Fatal(err)
		}
		gone[[32]byte(raw)] = true
	}
	slices.Sort(made.States)
	return slices.Compact(made.States), gone
}

// upgrade upgrades by wineryctl, after a dry run that must change nothing and
// print SQL that does the same.
func upgrade(ctx context.Context, t *testing.T, o harness.Options, version int, args []string) {
	t.Helper()
	config, dsn := upgradeConfig(t, o), o.DSN
	upgrade := func(more ...string) (out string, status int) {
		return program(ctx, t, o, "wineryctl", append([]string{"--config", config, "db", "upgrade"}, more...)...)
	}
	before := dump(t, dsn)
	if len(args) > 0 {
		if out, status := upgrade(); status != 1 || !strings.Contains(out, "--pool-name") {
			t.Errorf("without the pool's name: status %d, %q", status, out)
		}
	}
	printed, status := upgrade(append([]string{"--dry-run"}, args...)...)
	if status != 0 || dump(t, dsn) != before {
		t.Errorf("the dry run changed the database, or ended with status %d: %s", status, printed)
	}
	byHand := pgtest.New(t)
	run(t, strings.NewReader(before), "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", byHand)
	run(t, strings.NewReader(printed), "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", byHand)

	want := ""
	for v := version + 1; v <= sharedbase.SchemaVersion; v++ {
		want += fmt.Sprintf("database upgraded: schema version %d\n", v)
	}
	for _, want := range []string{want + "database is up to date: schema version 5\n", "database is up to date: schema version 5\n"} {
		if out, status := upgrade(args...); status != 0 || out != want {
			t.Fatalf("status %d, %q, want %q", status, out, want)
		}
	}

	fresh := pgtest.New(t)
	python(ctx, t, "testdata/winery.py", "init", fresh)
	pgtest.SameSchema(t, dsn, fresh)
	pgtest.SameSchema(t, byHand, fresh)
}

// serveUpgraded has all roles work on what was upgraded, and both languages add
// to it and read all of it; it counts the old objects that each has read.
func serveUpgraded(ctx context.Context, t *testing.T, o harness.Options, tree *harness.Source, gone map[[32]byte]bool) (readByGo, readByPython int) {
	t.Helper()
	f := fleettest.New(t, o)
	theirs, ours := inPython{f}, inGo{f}
	readByGo, readByPython = ours.compare(ctx, t, tree, gone), theirs.compare(ctx, t, tree, gone)
	if want := 240 - len(gone); len(gone) != 16 || readByGo != want || readByPython != want {
		t.Errorf("read %d and %d objects, want %d", readByGo, readByPython, want)
	}
	newByGo, newByPython := newTree(t, 1), newTree(t, 2)
	ours.add(ctx, t, newByGo)
	theirs.add(ctx, t, newByPython)
	ours.pack(ctx, t)
	ours.clean(ctx, t)
	if after := states(ctx, t, f); after[sharedbase.StateReadOnly]+after[sharedbase.StateStandby] != total(after) {
		t.Errorf("shards are left over: %v", after)
	}
	for _, tree := range []*harness.Source{tree, newByGo, newByPython} {
		ours.compare(ctx, t, tree, gone)
		theirs.compare(ctx, t, tree, gone)
	}
	return readByGo, readByPython
}

// No role works on a schema that it does not know, and each says what to do.
func TestOtherVersionsRefused(t *testing.T) {
	o := fleettest.Options(t)
	o.ShardMaxSize = shardMaxSize
	config := upgradeConfig(t, o)
	if out, status := program(t.Context(), t, o, "wineryctl", "--config", config, "db", "init"); status != 0 {
		t.Fatal(out)
	}
	commands := [][]string{
		{harness.Writer, "--listen", "127.0.0.1:0"}, {harness.Packer}, {harness.Packer, "--stop-instead-of-waiting"},
		{harness.Mapper}, {harness.Mapper, "--stop-instead-of-waiting"},
		{harness.Cleaner}, {harness.Cleaner, "--stop-instead-of-waiting"}, {"wineryctl", "db", "init"},
	}
	refused := func(version int, cure string, commands ...[]string) {
		sql(t.Context(), t, o.DSN, fmt.Sprintf("UPDATE dbversion SET version = %d", version))
		for _, c := range commands {
			ctx := fleettest.Within(t)
			out, status := program(ctx, t, o, c[0], append([]string{"--config", config}, c[1:]...)...)
			want := fmt.Sprintf("schema version %d, this program needs version 5: %s", version, cure)
			if status != 1 || !strings.Contains(out, want) {
				t.Errorf("%v: status %d, %q, want %q", c, status, out, want)
			}
		}
	}
	refused(4, "run `wineryctl db upgrade`", commands...)
	refused(6, "use a newer Winery", append(commands, []string{"wineryctl", "db", "upgrade"})...)
}

// upgradeConfig writes a configuration for a database that is not upgraded yet.
func upgradeConfig(t *testing.T, o harness.Options) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "winery.yml")
	config := fmt.Sprintf(`
objstorage:
  cls: winery
  database: {db: %q}
  shards_pools: [{type: directory, pool_name: %s, base_directory: %q, shard_max_size: %d}]
  shards_active_pool: %[2]s
`, o.DSN, harness.PoolName, o.Dir, o.ShardMaxSize)
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// program runs one of bin/ to its end. It gives what it printed, or what it
// complained of where it failed.
func program(ctx context.Context, t *testing.T, o harness.Options, name string, args ...string) (out string, status int) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, filepath.Join(o.Bin, name), args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stderr.String(), cmd.ProcessState.ExitCode()
	}
	return stdout.String(), 0
}

// run gives what a tool printed, which must succeed.
func run(t *testing.T, stdin io.Reader, name string, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append(os.Environ(), "PSYCOPG_IMPL=python", "PYTHONDONTWRITEBYTECODE=1") // see python
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s%s", name, err, stdout.String(), stderr.String())
	}
	return stdout.String()
}

// dump gives all that a database has, as SQL.
func dump(t *testing.T, dsn string) string {
	t.Helper()
	var lines []string
	for line := range strings.Lines(run(t, nil, "pg_dump", "--no-owner", "--dbname", dsn)) {
		if !strings.Contains(line, "restrict ") { // a random word, each time another
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}
