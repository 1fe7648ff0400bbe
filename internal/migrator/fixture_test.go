// SPDX-License-Identifier: GPL-3.0-or-later

package migrator_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"testing"

	"winery/internal/config"
	"winery/internal/migrator"
	"winery/internal/storage"
	"winery/pool"
	"winery/pool/pooltest"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/roletest"
)

// fromEnv tells a process that is to be killed of the old pool.
const fromEnv = "WINERY_TEST_MIGRATE_FROM"

const role = "migrator"

func TestMain(m *testing.M) {
	migrate := func(s *roletest.Stage) func(context.Context) (bool, error) {
		return func(ctx context.Context) (bool, error) {
			var from config.Pool
			if err := json.Unmarshal([]byte(os.Getenv(fromEnv)), &from); err != nil {
				return false, err
			}
			set, err := storage.Open([]config.Pool{from}, true)
			if err != nil {
				return false, err
			}
			_, err = (&migrator.Migrator{Base: s.Base, From: set[from.Name], To: s.Pool}).Migrate(ctx, image)
			return true, err
		}
	}
	roletest.Main(m, map[string]roletest.Role{role: migrate})
}

// image is the name of every test's image.
const image = "i0123456789abcdef0123456789abcde"

// stage is a stage whose pool is the new one, and the old one.
type stage struct {
	*roletest.Stage
	FromConfig config.Pool
	From       *roletest.Hooked
}

// directory and rbd are pools with room for some blocks.
func directory(t testing.TB, name string) config.Pool {
	c := roletest.Directory(t, "")
	c.Name, c.ShardMaxSize = name, 16<<20
	return c
}

func rbd(t testing.TB) config.Pool {
	c := roletest.RBD(t)
	c.ShardMaxSize = 16 << 20
	return c
}

// eachWay runs a test for each pair of kinds, always from the other kind or from directory to directory.
func eachWay(t *testing.T, test func(*testing.T, *stage)) {
	way := func(name string, stage func(testing.TB) *stage) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, stage(t))
		})
	}
	way("directory to rbd", func(t testing.TB) *stage { return newStage(t, directory(t, "old"), rbd(t)) })
	way("rbd to directory", func(t testing.TB) *stage { return newStage(t, rbd(t), directory(t, "new")) })
	way("directory to directory", func(t testing.TB) *stage { return newStage(t, directory(t, "old"), directory(t, "new")) })
}

func newStage(t testing.TB, from, to config.Pool) *stage {
	t.Helper()
	set := roletest.OpenPools(t, true, from)
	return &stage{roletest.New(t, to), from, &roletest.Hooked{Pool: set[from.Name]}}
}

func (s *stage) migrator() *migrator.Migrator {
	return &migrator.Migrator{Base: s.Base, From: s.From, To: s.Pool}
}

func (s *stage) migrate(t testing.TB) migrator.Moved {
	t.Helper()
	moved, err := s.migrator().Migrate(t.Context(), image)
	expect.NoError(t, err)
	return moved
}

// objects are some of all sizes, and one of zeros that spans whole blocks.
func objects() []sharedbase.Object {
	zeros := make([]byte, 9<<20)
	return append(roletest.Objects(1, 300, 20000),
		sharedbase.Object{ID: sha256.Sum256(zeros), Content: zeros}, roletest.Objects(2, 2, 100)[1])
}

// old puts an image into the old pool and makes a shard of it.
func (s *stage) old(t testing.TB) []sharedbase.Object {
	t.Helper()
	all := objects()
	roletest.Put(t, s.From, image, all)
	s.record(t)
	return all
}

// record makes a shard of the image in the old pool.
func (s *stage) record(t testing.TB) {
	t.Helper()
	img, err := s.From.Pool.Open(t.Context(), image)
	expect.NoError(t, err)
	defer img.Close()
	r, err := s.From.Format().Open(img, img.Size(), image)
	expect.NoError(t, err)
	_, err = s.Base.ImportShard(t.Context(), image, s.From.Name(), sharedbase.ImageRecord{Objects: r.Info().Objects, Fingerprint: r.Fingerprint()}, r.Keys(t.Context()))
	expect.NoError(t, err)
}

// wantPool fails the test unless the database has the shard in a pool.
func (s *stage) wantPool(t testing.TB, p pool.Pool) {
	t.Helper()
	if got := s.Shard(t, image); got.Pool != p.Name() || got.State != sharedbase.StateReadOnly {
		t.Fatalf("the shard is %+v, want it in pool %s", got, p.Name())
	}
}

// wantNoCopy fails the test if there is an image in the new pool.
func (s *stage) wantNoCopy(t testing.TB) {
	t.Helper()
	if names, err := s.Pool.List(t.Context()); err != nil || len(names) != 0 {
		t.Fatalf("the new pool has %v, %v", names, err)
	}
}

// edit changes a byte of an image; again, and it is back.
func edit(t testing.TB, p pool.Pool, at int64) {
	t.Helper()
	e, err := p.Edit(t.Context(), image, pooltest.Anything{})
	expect.NoError(t, err)
	b := make([]byte, 1)
	_, err = e.ReadAt(b, at)
	expect.NoError(t, err)
	b[0] ^= 1
	_, err = e.WriteAt(b, at)
	expect.NoError(t, errors.Join(err, e.Flush(), e.Close()))
}

func wantError(t testing.TB, err error, is error, says ...any) {
	t.Helper()
	if !errors.Is(err, is) || !bytes.Contains([]byte(fmt.Sprint(err)), []byte(fmt.Sprint(says...))) {
		t.Fatalf("error %v, want %q and %v", err, fmt.Sprint(says...), is)
	}
}
