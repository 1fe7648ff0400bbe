// SPDX-License-Identifier: GPL-3.0-or-later

package ingest_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os/exec"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"winery/internal/ingest"
	"winery/internal/reader"
	"winery/pool"
	"winery/pool/directory"
	"winery/shard"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/pgtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// fixture is a database for a writer and for the test itself.
type fixture struct {
	testing.TB
	dsn    string
	base   *sharedbase.SharedBase
	reader *reader.Reader
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{TB: t, dsn: pgtest.New(t)}
	f.base = f.open(f.dsn)
	_, err := f.base.Init(t.Context())
	f.must(err)
	f.reader = reader.NewReader(reader.Options{Base: f.base, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(f.reader.Close)
	return f
}

// pools are those whose shards the tests fill. No image is made in them.
func pools(t testing.TB) map[string]pool.Pool {
	t.Helper()
	p, err := directory.New(directory.Settings{BaseDirectory: t.TempDir(), PoolName: "shards", Format: shard.Format{}})
	if err != nil {
		t.Fatal(err)
	}
	return map[string]pool.Pool{"shards": p, "old": p}
}

func (f *fixture) open(dsn string) *sharedbase.SharedBase {
	f.Helper()
	base, err := sharedbase.New(dsn, "writer test")
	f.must(err)
	f.Cleanup(base.Close)
	return base
}

// start starts a writer, which the end of the test closes, and waits until it
// has a shard, and nothing to do.
func (f *fixture) start(o ingest.Options) *ingest.Writer {
	f.Helper()
	all, writing := len(f.shards()), len(f.shards(sharedbase.StateWriting))
	w := f.writer(o)
	w.Start()
	expect.Eventually(f, "the writer to claim a shard", func() bool {
		return len(f.shards()) > all || len(f.shards(sharedbase.StateWriting)) > writing
	})
	expect.Eventually(f, "the lanes to be idle", func() bool { return w.Busy() == 0 })
	return w
}

func (f *fixture) writer(o ingest.Options) *ingest.Writer {
	if o.Base == nil {
		o.Base = f.base
	}
	if o.Log == nil {
		o.Log = quiet
	}
	o.Pool, o.Pools = "shards", pools(f)
	w := ingest.New(o)
	f.Cleanup(func() {
		if err := w.Close(context.Background()); err != nil {
			f.Errorf("Close: %v", err)
		}
	})
	return w
}

func (f *fixture) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// add adds objects that must all be new.
func (f *fixture) add(w *ingest.Writer, objects ...sharedbase.Object) {
	f.Helper()
	added, err := w.Add(f.Context(), objects)
	f.must(err)
	if added.Objects != len(objects) {
		f.Fatalf("%d of %d objects were new", added.Objects, len(objects))
	}
}

// stored makes sure that all objects can be read.
func (f *fixture) stored(objects ...sharedbase.Object) {
	f.Helper()
	ids := make([]sharedbase.ObjID, len(objects))
	for i, o := range objects {
		ids[i] = o.ID
	}
	found, err := f.reader.GetBatch(context.Background(), ids, nil)
	f.must(err)
	for i, o := range objects {
		if found[i].Err != nil || !bytes.Equal(found[i].Content, o.Content) {
			f.Fatalf("object %x of %d bytes is not stored as it was added", o.ID, len(o.Content))
		}
	}
}

func (f *fixture) shards(states ...sharedbase.ShardState) []sharedbase.Shard {
	f.Helper()
	shards, err := f.base.ListShards(context.Background(), sharedbase.ShardFilter{States: states})
	f.must(err)
	return shards
}

// sql runs a statement on a separate connection, and returns its result.
func (f *fixture) sql(statement string) string {
	f.Helper()
	out, err := exec.CommandContext(f.Context(), "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-c", statement, f.dsn).CombinedOutput()
	if err != nil {
		f.Fatalf("psql (of Debian's postgresql-client) cannot run %q: %v: %s", statement, err, out)
	}
	return strings.TrimSpace(string(out))
}

func object(content string) sharedbase.Object {
	return sharedbase.Object{ID: sha256.Sum256([]byte(content)), Content: []byte(content)}
}

// objects returns n different objects of size bytes each.
func objects(n, size int, kind string) []sharedbase.Object {
	all := make([]sharedbase.Object, n)
	for i := range all {
		all[i] = object(fmt.Sprintf("%-*s", size, fmt.Sprintf("%s %d", kind, i)))
	}
	return all
}
