// SPDX-License-Identifier: GPL-3.0-or-later

package interop

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"winery/shard"
	"winery/test/fleettest"
	"winery/test/harness"
	"winery/test/pgtest"
)

// site is a database, its images in two pools, and a configuration for both.
// The second pool is cold and empty at first.
type site struct {
	harness.Options
	config string
	shards map[string][]string // names by state, the oldest first
}

const (
	treeSize  = 103 // files, of which 10 fill a shard
	cold      = "cold"
	someone   = "00000000-0000-4000-8000-000000000001"
	other1    = "00000000-0000-4000-8000-000000000002"
	other2    = "00000000-0000-4000-8000-000000000003"
	importing = "ffffffffffffffffffffffffffffffff"
)

// locked locks shards as if a process had locked them a while ago.
const locked = `
	UPDATE shards SET state = v.state::shard_state, locker = v.locker::uuid, locker_ts = now() - v.age::interval
	FROM (VALUES
		('full', 1, 'writing', '` + someone + `', '72h'), ('full', 2, 'writing', '` + someone + `', '1h'),
		('full', 3, 'packing', '` + other1 + `', '72h'), ('full', 4, 'packing', '` + other2 + `', '24h'),
		('packed', 1, 'cleaning', '` + other1 + `', '60h')) v(was, n, state, locker, age),
		(SELECT id, state, row_number() OVER (PARTITION BY state ORDER BY id) n FROM shards) s
	WHERE s.id = shards.id AND s.state::text = v.was AND s.n = v.n;
	INSERT INTO shards (name, state, pool_name, locker, locker_ts)
		VALUES ('` + importing + `', 'importing', 'shards', '` + other2 + `', now() - interval '100h');`

// deleted deletes a part of the objects of the readonly shards.
const deleted = `
	UPDATE signature2shard s SET state = 'deleted' FROM shards
	WHERE shards.id = s.shard AND shards.state = 'readonly' AND get_byte(signature, 0) < 64;`

// newSite has shards in every state.
func newSite(ctx context.Context, t *testing.T) *site {
	t.Helper()
	s := &site{Options: fleettest.Options(t)}
	s.ShardMaxSize = 100_000
	f, err := harness.New(ctx, s.Options)
	if err != nil {
		t.Fatal(err)
	}
	tree := func(number int) *harness.Source { return treeOf(t, number, func(int) int { return 10_000 }, treeSize) }
	inGo{f}.add(ctx, t, tree(0))
	inGo{f}.pack(ctx, t)
	inGo{f}.clean(ctx, t)
	inGo{f}.add(ctx, t, tree(1))
	inGo{f}.pack(ctx, t)
	inGo{f}.add(ctx, t, tree(2))
	// A database that is copied may have no connections.
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	s.sql(t, locked+deleted)
	s.shards = map[string][]string{}
	for line := range strings.Lines(s.sql(t, "SELECT state, name FROM shards ORDER BY id;")) {
		state, name, _ := strings.Cut(strings.TrimSpace(line), "|")
		s.shards[state] = append(s.shards[state], name)
	}
	for state, want := range map[string]int{"standby": 1, "writing": 2, "full": 2, "packing": 2, "packed": 3, "cleaning": 1, "readonly": 4, "importing": 1} {
		if len(s.shards[state]) < want {
			t.Fatalf("%d shards are %s, want %d", len(s.shards[state]), state, want)
		}
	}
	return s
}

// copy makes another site that is equal.
func (s *site) copy(t *testing.T) *site {
	t.Helper()
	c := &site{Options: fleettest.Options(t), shards: s.shards}
	name := func(dsn string) string { return dsn[strings.LastIndex(dsn, "/")+1:] }
	server := &site{Options: harness.Options{DSN: os.Getenv(pgtest.Env)}}
	server.sql(t, fmt.Sprintf("DROP DATABASE %s;\nCREATE DATABASE %[1]s TEMPLATE %s;", name(c.DSN), name(s.DSN)))
	run(t, nil, "cp", "-a", filepath.Join(s.Dir, harness.PoolName), c.Dir)
	c.config = write(t, fmt.Sprintf(`
objstorage:
  cls: winery
  database: {db: %q}
  shards_pools:
    - {type: directory, pool_name: %s, base_directory: %q, shard_max_size: %d}
    - {type: directory, pool_name: %s, base_directory: %[3]q, shard_max_size: %[4]d}
  shards_active_pool: %[2]s
`, c.DSN, harness.PoolName, c.Dir, s.ShardMaxSize, cold))
	ctl := filepath.Join(c.Bin, "wineryctl")
	run(t, nil, ctl, "--config", c.config, "pool", "adopt", "--yes", harness.PoolName)
	run(t, nil, ctl, "--config", c.config, "pool", "init", cold)
	return c
}

// sql runs statements, and gives what they select.
func (s *site) sql(t *testing.T, statements string) string {
	t.Helper()
	return run(t, strings.NewReader(statements), "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", s.DSN)
}

// unlock makes the images writable.
func (s *site) unlock(t *testing.T) {
	t.Helper()
	for _, path := range s.images(t, harness.PoolName) {
		if err := os.Chmod(path, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func (s *site) images(t *testing.T, pool string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(s.Dir, pool, "[^.]*")) // not the marker's folder
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// all is all that a site has, a line each: shards, index, rows of the tables,
// objects of the images.
func (s *site) all(t *testing.T) (lines []string) {
	t.Helper()
	lines = strings.Split(s.sql(t, `
		SELECT 'shard', name, state, pool_name, locker, mapped_on_hosts_when_packed FROM shards ORDER BY name;
		SELECT 'index', encode(signature, 'hex'), s.state, name FROM signature2shard s JOIN shards ON shards.id = shard ORDER BY signature;
		SELECT format('SELECT %L, encode(key, ''hex''), encode(sha256(content), ''hex'') FROM %I ORDER BY key', relname, relname)
			FROM pg_class WHERE relname ~ '^shard_' AND relkind = 'r' ORDER BY relname \gexec
		SELECT 'table', relname FROM pg_class WHERE relname ~ '^shard_' AND relkind = 'r' ORDER BY relname;`), "\n")
	for _, pool := range []string{harness.PoolName, cold} {
		for _, path := range s.images(t, pool) {
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			mode := info.Mode()
			if pool == cold {
				mode = 0 // Python's migration leaves images writable until its mapper comes
			}
			lines = append(lines, fmt.Sprintf("image %s/%s %s", pool, info.Name(), mode))
			lines = append(lines, objects(t, path)...)
		}
	}
	return lines
}

// objects gives a line for each object in an image, none if it cannot be read.
func objects(t *testing.T, path string) (lines []string) {
	t.Helper()
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrPermission) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() == 0 {
		return nil // created for a packer
	}
	image, err := shard.Open(file, info.Size(), path)
	if err != nil {
		t.Fatal(err)
	}
	for id, err := range image.Keys(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		content, err := image.Get(id)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fmt.Sprintf("object %s/%x %x", filepath.Base(path), id, sha256.Sum256(content)))
	}
	slices.Sort(lines)
	return lines
}
