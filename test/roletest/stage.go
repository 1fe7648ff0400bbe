// SPDX-License-Identifier: GPL-3.0-or-later

package roletest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"winery/format"
	"winery/internal/config"
	"winery/internal/storage"
	"winery/pool"
	"winery/pool/pooltest"
	"winery/shard"
	"winery/sharedbase"
	"winery/test/cephtest"
	"winery/test/expect"
	"winery/test/pgtest"
	"winery/test/s3test"
)

// ShardMaxSize is that of the pools of a stage: their images are twice as
// large, so that a shard of many small objects has room for its index.
const ShardMaxSize = 4 << 20

// Stage is a database and a pool for one test.
type Stage struct {
	DSN    string
	Config config.Pool
	Base   *sharedbase.SharedBase
	Pool   *Hooked
	Pools  storage.Set // Pool alone
	Log    *slog.Logger

	Imported string // the image that an importer's process is to import
}

// Directory is the pool of a test that needs files: under dir, or under a
// directory of the test's own if that is empty.
func Directory(t testing.TB, dir string) config.Pool {
	if dir == "" {
		dir = t.TempDir()
	}
	return config.Pool{
		Type: config.Directory, Name: "files", ShardMaxSize: ShardMaxSize,
		BaseDirectory: dir, UsePermissions: true,
	}
}

// Mosaic is a pool of compressed mosaics, in a directory of the test's own.
func Mosaic(t testing.TB) config.Pool {
	return config.Pool{
		Type: config.Mosaic, Name: "mosaics", ShardMaxSize: ShardMaxSize,
		BaseDirectory: t.TempDir(), UsePermissions: true, Compression: true, CompressionLevel: 3,
	}
}

// S3 is a pool of compressed mosaics in a bucket of the test's own. The TestMain of
// the package ends the server, by [s3test.Tests].
func S3(t testing.TB) config.Pool {
	server := s3test.Versity(t)
	return config.Pool{
		Type: config.MosaicS3, Name: "far", ShardMaxSize: ShardMaxSize, Compression: true, CompressionLevel: 3,
		S3: config.S3{
			BaseURL: "s3://" + server.Bucket(t), TmpDirectory: t.TempDir(), Endpoint: server.Endpoint,
			AccessKey: s3test.AccessKey, SecretKey: s3test.SecretKey,
		},
	}
}

// RBD is the pool of a test that needs Ceph, read and written by librbd.
func RBD(t testing.TB) config.Pool {
	p := cephtest.New(t)
	return config.Pool{
		Type: config.RBD, Name: p.Pool, DataPool: p.DataPool, ShardMaxSize: ShardMaxSize,
		Map: config.MapLibrbd, CephConf: p.Conf,
	}
}

// EachKind runs a test once on each type of pool, at the same time: they share
// nothing with one another.
func EachKind(t *testing.T, test func(*testing.T, *Stage)) {
	t.Run("mosaic-s3", func(t *testing.T) {
		t.Parallel()
		test(t, New(t, S3(t)))
	})
	EachInPlace(t, test)
}

// EachInPlace is EachKind for a test of what only pools do that change images in place.
func EachInPlace(t *testing.T, test func(*testing.T, *Stage)) {
	t.Run("mosaic", func(t *testing.T) {
		t.Parallel()
		test(t, New(t, Mosaic(t)))
	})
	EachStore(t, test)
}

// EachStore is EachKind for a test that knows the bytes of an SWHShard.
func EachStore(t *testing.T, test func(*testing.T, *Stage)) {
	for kind, configured := range map[string]func(testing.TB) config.Pool{
		"directory": func(t testing.TB) config.Pool { return Directory(t, "") },
		"rbd":       RBD,
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			test(t, New(t, configured(t)))
		})
	}
}

// New makes a stage with an initialised database. It is gone with the test.
func New(t testing.TB, c config.Pool) *Stage {
	t.Helper()
	return NewWith(t, c, true)
}

// NewWith is New with a pool that may create images or not.
func NewWith(t testing.TB, c config.Pool, createImages bool) *Stage {
	t.Helper()
	s := &Stage{DSN: pgtest.New(t), Config: c, Log: slog.New(slog.DiscardHandler)}
	s.connect(t)
	s.open(t, createImages)
	return s
}

// On makes a stage with another empty database, and the pool of s.
func (s *Stage) On(t testing.TB, dsn string) *Stage {
	t.Helper()
	n := &Stage{DSN: dsn, Config: s.Config, Pool: s.Pool, Pools: s.Pools, Log: s.Log}
	n.connect(t)
	return n
}

// connect fills the database.
func (s *Stage) connect(t testing.TB) {
	t.Helper()
	base, err := sharedbase.New(s.DSN, "test")
	expect.NoError(t, err)
	t.Cleanup(base.Close)
	created, err := base.Init(t.Context())
	expect.NoError(t, err)
	if !created {
		t.Fatal("the database was not empty")
	}
	s.Base = base
}

// open opens the pool.
func (s *Stage) open(t testing.TB, createImages bool) {
	t.Helper()
	set := OpenPools(t, createImages, s.Config)
	s.Pool = &Hooked{Pool: set[s.Config.Name]}
	s.Pools = storage.Set{s.Config.Name: s.Pool}
	t.Cleanup(func() { s.Pool.WantNoHandles(t) })
}

// OpenPools makes the folders of pools and opens them. They are closed with the test.
func OpenPools(t testing.TB, createImages bool, configured ...config.Pool) storage.Set {
	t.Helper()
	set, err := storage.Open(configured, createImages)
	expect.NoError(t, err)
	t.Cleanup(func() {
		if err := set.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, p := range set {
		expect.NoError(t, p.Init(t.Context()))
	}
	return set
}

// Objects makes n objects of up to maxSize bytes that depend on seed; the first is
// empty.
func Objects(seed uint64, n, maxSize int) []sharedbase.Object {
	random := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	objects := make([]sharedbase.Object, n)
	for i := range objects {
		content := make([]byte, 0)
		if i > 0 {
			content = make([]byte, 1+random.Uint64()%uint64(maxSize))
		}
		_, _ = random.Read(content) // never fails
		objects[i] = sharedbase.Object{ID: sha256.Sum256(content), Content: content}
	}
	return objects
}

// Full stores objects in a new shard and fills it up.
func (s *Stage) Full(t testing.TB, objects []sharedbase.Object) (name string) {
	t.Helper()
	return s.FullIn(t, s.Config.Name, objects)
}

// FullIn is Full for a shard of another pool.
func (s *Stage) FullIn(t testing.TB, poolName string, objects []sharedbase.Object) (name string) {
	t.Helper()
	claim, err := s.Base.CreateShard(t.Context(), poolName)
	expect.NoError(t, err)
	for batch := range slices.Chunk(objects, 100) {
		_, err = s.Base.Add(t.Context(), claim, batch)
		expect.NoError(t, err)
	}
	expect.NoError(t, claim.SetState(t.Context(), sharedbase.StateFull))
	return claim.Name()
}

// Shard reads a shard's row.
func (s *Stage) Shard(t testing.TB, name string) sharedbase.Shard {
	t.Helper()
	row, err := s.Base.ShardByName(t.Context(), name)
	expect.NoError(t, err)
	return row
}

// WantState fails the test unless a shard is in a state.
func (s *Stage) WantState(t testing.TB, name string, want sharedbase.ShardState) {
	t.Helper()
	if got := s.Shard(t, name).State; got != want {
		t.Fatalf("shard %s is %s, want %s", name, got, want)
	}
}

// WantQuarantined fails the test unless the quarantined shards are those of the given
// names, and the reasons say what is expected.
func (s *Stage) WantQuarantined(t testing.TB, says string, names ...string) {
	t.Helper()
	quarantined, err := s.Base.QuarantinedShards(t.Context())
	expect.NoError(t, err)
	var got []string
	for _, p := range quarantined {
		got = append(got, p.Shard.Name)
		if !strings.Contains(p.Reason, says) {
			t.Errorf("shard %s is quarantined because %q, which does not say %q", p.Shard.Name, p.Reason, says)
		}
	}
	if slices.Sort(got); !slices.Equal(got, slices.Sorted(slices.Values(names))) {
		t.Errorf("quarantined are %v, want %v", got, names)
	}
}

// Extend has all leases hold for an hour, as if their holders were alive.
func (s *Stage) Extend(t testing.TB) {
	t.Helper()
	pgtest.Exec(t, s.DSN, "UPDATE winery_lease SET expires = clock_timestamp() + interval '1 hour'")
	pgtest.Exec(t, s.DSN, "UPDATE winery_image_lease SET expires = clock_timestamp() + interval '1 hour'")
}

// Expire ends all leases, as time does for processes that are dead.
func (s *Stage) Expire(t testing.TB) {
	t.Helper()
	pgtest.Exec(t, s.DSN, "UPDATE winery_lease SET expires = clock_timestamp()")
	pgtest.Exec(t, s.DSN, "UPDATE winery_image_lease SET expires = clock_timestamp()")
}

// Cleaner is a [winery/internal/cleaner.Cleaner].
type Cleaner interface {
	DropTables(ctx context.Context) (worked bool, err error)
	EraseDeleted(ctx context.Context) (erased int64, err error)
}

// Clean makes the step of a cleaner: both of its loops, one after the other.
func Clean(c Cleaner) func(context.Context) (worked bool, err error) {
	return func(ctx context.Context) (bool, error) {
		dropped, errDrop := c.DropTables(ctx)
		erased, errErase := c.EraseDeleted(ctx)
		return dropped || erased > 0, errors.Join(errDrop, errErase)
	}
}

// Put writes an image of objects into a pool, of which no database knows.
func Put(t testing.TB, into pool.Pool, name string, objects []sharedbase.Object) {
	t.Helper()
	expect.NoError(t, Draft(t, into, name, objects).Commit(t.Context()))
}

// Draft writes an image of objects into a pool, complete but not committed.
func Draft(t testing.TB, into pool.Pool, name string, objects []sharedbase.Object) pool.Draft {
	t.Helper()
	draft, err := into.Create(t.Context(), name, 0, pooltest.Anything{})
	expect.NoError(t, err)
	w, err := into.Format().NewWriter(draft, draft.Size())
	expect.NoError(t, err)
	defer w.Close()
	for _, o := range objects {
		expect.NoError(t, w.Add(o.ID, int64(len(o.Content)), bytes.NewReader(o.Content)))
	}
	_, err = w.Finish()
	expect.NoError(t, err)
	return draft
}

// SWHShard opens a shard's image, which has this format, as it is in the store.
func (s *Stage) SWHShard(t testing.TB, name string) *shard.Reader {
	t.Helper()
	return s.Image(t, name).Reader.(*shard.Reader)
}

// Image is a shard's image.
type Image struct{ format.Reader }

// Get returns an object's content.
func (i Image) Get(id sharedbase.ObjID) ([]byte, error) {
	_, content, err := i.GetUpTo(id, math.MaxInt64)
	return content, err
}

// Image opens a shard's image as it is in the store.
func (s *Stage) Image(t testing.TB, name string) Image {
	t.Helper()
	img, err := s.Pool.Pool.Open(t.Context(), name)
	expect.NoError(t, err)
	t.Cleanup(func() { expect.NoError(t, img.Close()) })
	r, err := s.Pool.Format().Open(img, img.Size(), name)
	expect.NoError(t, err)
	return Image{r}
}

// WantObjects fails the test unless a shard's image holds all objects.
func (s *Stage) WantObjects(t testing.TB, name string, objects []sharedbase.Object) {
	t.Helper()
	r := s.Image(t, name)
	for _, o := range objects {
		got, err := r.Get(o.ID)
		expect.NoError(t, err)
		if !bytes.Equal(got, o.Content) {
			t.Fatalf("object %x: other bytes in the image", o.ID)
		}
	}
}

// FlipBit changes a bit of a finished image in the store; again, and it is back.
func (s *Stage) FlipBit(t testing.TB, name string, at int64) {
	t.Helper()
	e, err := s.Pool.Pool.Edit(t.Context(), name, pooltest.Anything{})
	expect.NoError(t, err)
	b := make([]byte, 1)
	_, err = e.ReadAt(b, at)
	expect.NoError(t, err)
	b[0] ^= 1
	_, err = e.WriteAt(b, at)
	expect.NoError(t, err)
	expect.NoError(t, e.Commit(t.Context()))
	expect.NoError(t, e.Close())
}
