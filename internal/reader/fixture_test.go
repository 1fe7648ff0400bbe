// SPDX-License-Identifier: GPL-3.0-or-later

package reader_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"winery/internal/reader"
	"winery/pool"
	"winery/pool/directory"
	"winery/pool/pooltest"
	"winery/shard"
	"winery/sharedbase"
	"winery/test/logtest"
	"winery/test/pgtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixture is a database, a directory pool, and what moves shards on.
type fixture struct {
	testing.TB
	dsn  string
	base *sharedbase.SharedBase
	pool *watchedPool
	log  *slog.Logger
	logs *logtest.Log
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	return fixtureOn(t, pgtest.New(t))
}

func fixtureOn(t testing.TB, dsn string) *fixture {
	t.Helper()
	base := openBase(t, dsn)
	if _, err := base.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	dir, err := directory.New(directory.Settings{Format: shard.Format{}, BaseDirectory: t.TempDir(), PoolName: "shards", UsePermissions: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := dir.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	logs := new(logtest.Log)
	return &fixture{TB: t, dsn: dsn, base: base, pool: &watchedPool{Pool: dir}, log: logs.Logger(slog.LevelDebug), logs: logs}
}

func openBase(t testing.TB, dsn string) *sharedbase.SharedBase {
	t.Helper()
	base, err := sharedbase.New(dsn, "reader test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(base.Close)
	return base
}

// reader is closed at the end of the test, when no image may be left open.
func (f *fixture) reader(cacheSize int) *reader.Reader {
	return f.readerWith(f.options(cacheSize))
}

func (f *fixture) options(cacheSize int) reader.Options {
	return reader.Options{Base: f.base, Pools: map[string]pool.Pool{"shards": f.pool}, CacheSize: cacheSize, Log: f.log}
}

func (f *fixture) readerWith(o reader.Options) *reader.Reader {
	r := reader.NewReader(o)
	f.Cleanup(func() {
		r.Close()
		if n := f.pool.handles.Load(); n != 0 {
			f.Errorf("%d images are still open after Close", n)
		}
	})
	return r
}

func (f *fixture) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

func object(content string) sharedbase.Object {
	return sharedbase.Object{ID: sha256.Sum256([]byte(content)), Content: []byte(content)}
}

func objects(n int, kind string) []sharedbase.Object {
	all := make([]sharedbase.Object, n)
	for i := range all {
		all[i] = object(fmt.Sprintf("%s %d", kind, i))
	}
	return all
}

func idsOf(objects []sharedbase.Object) []sharedbase.ObjID {
	ids := make([]sharedbase.ObjID, len(objects))
	for i, o := range objects {
		ids[i] = o.ID
	}
	return ids
}

// write makes a shard with objects, which is being written.
func (f *fixture) write(objects ...sharedbase.Object) *sharedbase.Claim {
	f.Helper()
	claim, err := f.base.CreateShard(f.Context(), "shards")
	f.must(err)
	added, err := f.base.Add(f.Context(), claim, objects)
	f.must(err)
	if added.Objects != len(objects) {
		f.Fatalf("%d of %d objects were new", added.Objects, len(objects))
	}
	return claim
}

// pack makes the image of a shard that is being written.
func (f *fixture) pack(claim *sharedbase.Claim) {
	f.Helper()
	ctx, name := f.Context(), claim.Name()
	f.must(claim.SetState(ctx, sharedbase.StateFull))
	f.step(name, sharedbase.StateFull, sharedbase.StatePacking, func(ctx context.Context, c *sharedbase.Claim) error {
		draft, err := f.pool.Create(ctx, name, 0, pooltest.Anything{})
		f.must(err)
		w, err := shard.NewWriter(draft, draft.Size())
		f.must(err)
		defer func() { _ = w.Close() }()
		_, err = f.base.StreamTable(ctx, c, func(id sharedbase.ObjID, size int64, content io.Reader) error {
			return w.Add(id, size, content)
		})
		f.must(err)
		_, err = w.Finish()
		f.must(err)
		f.must(draft.Commit(ctx))
		return c.SetState(ctx, sharedbase.StatePacked)
	})
}

// clean drops the table of a packed shard.
func (f *fixture) clean(name string) {
	f.Helper()
	f.step(name, sharedbase.StatePacked, sharedbase.StateCleaning, func(ctx context.Context, c *sharedbase.Claim) error {
		return c.DropTable(ctx)
	})
}

// readOnly makes a shard whose objects are in an image only.
func (f *fixture) readOnly(objects ...sharedbase.Object) (name string) {
	f.Helper()
	claim := f.write(objects...)
	f.pack(claim)
	f.clean(claim.Name())
	return claim.Name()
}

func (f *fixture) step(name string, from, to sharedbase.ShardState, work func(context.Context, *sharedbase.Claim) error) {
	f.Helper()
	worked, err := f.base.WithOneShard(f.Context(), from, to, sharedbase.ClaimFilter{Name: name}, work)
	f.must(err)
	if !worked {
		f.Fatalf("shard %s could not be locked as %s", name, to)
	}
}

// overwrite changes bytes of an image, from where it finds old.
func (f *fixture) overwrite(name string, old, changed string) {
	f.Helper()
	e, err := f.pool.Edit(f.Context(), name, pooltest.Anything{})
	f.must(err)
	image, err := io.ReadAll(io.NewSectionReader(e, 0, e.Size()))
	f.must(err)
	at := int64(bytes.Index(image, []byte(old)))
	if at < 0 {
		f.Fatalf("image %s does not have %q", name, old)
	}
	_, err = e.WriteAt([]byte(changed), at)
	f.must(err)
	f.must(e.Flush())
	f.must(e.Close())
}

// watchedPool counts handles, and can be set to fail.
type watchedPool struct {
	pool.Pool
	opened  atomic.Int64 // calls of OpenMapped
	handles atomic.Int64 // images open
	peak    atomic.Int64 // of handles at once
	reads   atomic.Int64 // of images

	mu    sync.Mutex
	fail  error         // what reading answers
	hang  chan struct{} // reading waits until it is closed
	small int           // bytes of reads that do not wait
	in    atomic.Int64  // reads that wait
}

// hangReads makes all reads hang until the returned function is called.
func (p *watchedPool) hangReads() (release func()) { return p.hangReadsAbove(-1) }

// hangReadsAbove is hangReads for reads of more bytes than small.
func (p *watchedPool) hangReadsAbove(small int) (release func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	hang := make(chan struct{})
	p.hang, p.small = hang, small
	return sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.hang = nil
		close(hang)
	})
}

// failReads makes all reads fail until it is switched off.
func (p *watchedPool) failReads(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fail = err
}

func (p *watchedPool) OpenMapped(ctx context.Context, name string) (pool.Image, error) {
	p.opened.Add(1)
	image, err := p.Pool.OpenMapped(ctx, name)
	if err != nil {
		return nil, err
	}
	now := p.handles.Add(1)
	for peak := p.peak.Load(); now > peak && !p.peak.CompareAndSwap(peak, now); peak = p.peak.Load() {
	}
	return &watchedImage{Image: image, pool: p}, nil
}

type watchedImage struct {
	pool.Image
	pool   *watchedPool
	closed atomic.Bool
}

func (i *watchedImage) ReadAt(p []byte, at int64) (int, error) {
	i.pool.reads.Add(1)
	i.pool.mu.Lock()
	err, hang, small := i.pool.fail, i.pool.hang, i.pool.small
	i.pool.mu.Unlock()
	if hang != nil && len(p) > small {
		i.pool.in.Add(1)
		<-hang
		i.pool.in.Add(-1)
	}
	if i.closed.Load() {
		err = fmt.Errorf("image was read after it was closed")
	}
	if err != nil {
		return 0, err
	}
	return i.Image.ReadAt(p, at)
}

func (i *watchedImage) Close() error {
	if i.closed.Swap(true) {
		return fmt.Errorf("image was closed twice")
	}
	i.pool.handles.Add(-1)
	return i.Image.Close()
}

func (f *fixture) exec(statement string) {
	f.Helper()
	pgtest.Exec(f, f.dsn, statement)
}
