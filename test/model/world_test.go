// SPDX-License-Identifier: GPL-3.0-or-later

package model

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"winery/internal/config"
	"winery/internal/ingest"
	"winery/internal/reader"
	"winery/internal/storage"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/pgtest"
)

const (
	host     = "here"  // the mapper's
	fullAt   = 150_000 // bytes in a shard
	cacheFew = 2       // images that the reader keeps open
)

// world is a Winery, and the model of it.
type world struct {
	testing.TB
	dsn    string
	base   *sharedbase.SharedBase // of processes that do not die
	stores storage.Set
	active string   // the pool that is written to
	names  []string // of both pools

	reader     *reader.Reader
	writer     *ingest.Writer         // nil: none runs
	writerBase *sharedbase.SharedBase // the writer's own

	present map[sharedbase.ObjID]bool // the model
	twice   map[placed]bool
	dead    map[string]bool // processes that could not release their claims
}

// placed is an object in an image.
type placed struct {
	shard string
	id    sharedbase.ObjID
}

// newWorld makes an empty Winery of a database, which it empties, and two pools,
// of which it writes to the first.
func newWorld(t testing.TB, dsn string, partitions int, configured []config.Pool, stores storage.Set) *world {
	pgtest.Empty(t, dsn)
	w := &world{
		TB: t, dsn: dsn, stores: stores, active: configured[0].Name,
		present: map[sharedbase.ObjID]bool{}, twice: map[placed]bool{}, dead: map[string]bool{},
	}
	for _, c := range configured {
		w.names = append(w.names, c.Name)
	}
	w.base = w.connect("life")
	t.Cleanup(w.base.Close)
	_, err := w.base.Init(t.Context(), sharedbase.WithIndexPartitions(partitions))
	expect.NoError(t, err)
	w.openReader()
	t.Cleanup(func() {
		w.reader.Close()
		w.stopWriter()
	})
	return w
}

func (w *world) connect(name string, options ...sharedbase.Option) *sharedbase.SharedBase {
	w.Helper()
	// Longer than any life: the leases of the dead run out by Reclaim alone.
	options = append(options, sharedbase.WithLease(24*time.Hour))
	base, err := sharedbase.New(w.dsn, name, options...)
	expect.NoError(w, err)
	return base
}

func (w *world) openReader() {
	w.reader = reader.NewReader(reader.Options{Base: w.base, Pools: w.stores, CacheSize: cacheFew, Log: quiet})
}

// writerName is the name of the writer's process in the database.
const writerName = "writer"

// startWriter starts a writer unless one runs.
func (w *world) startWriter() {
	w.Helper()
	if w.writer != nil {
		return
	}
	w.writerBase = w.connect(writerName)
	w.writer = ingest.New(ingest.Options{Base: w.writerBase, Pools: w.stores, Pool: w.active, ShardMaxSize: fullAt, Log: quiet})
	w.writer.Start()
}

// stopWriter ends the writer, which gives its shard back.
func (w *world) stopWriter() {
	w.Helper()
	if w.writer == nil {
		return
	}
	expect.NoError(w, w.writer.Close(context.WithoutCancel(w.Context())))
	w.writerBase.Close()
	w.writer = nil
}

var quiet = slog.New(slog.DiscardHandler)

// shards lists those in one of the states, all without any.
func (w *world) shards(states ...sharedbase.ShardState) []sharedbase.Shard {
	w.Helper()
	all, err := w.base.ListShards(w.Context(), sharedbase.ShardFilter{States: states})
	expect.NoError(w, err)
	return all
}

// locked are the shards that a process holds.
func (w *world) locked() []sharedbase.Shard {
	w.Helper()
	return slices.DeleteFunc(w.shards(), func(s sharedbase.Shard) bool { return !s.State.Locked() })
}

// imageLeases are the leases of claims to images, by the shard's number.
func (w *world) imageLeases() map[int64]sharedbase.Lease {
	w.Helper()
	leases, err := w.base.ImageLeases(w.Context())
	expect.NoError(w, err)
	return leases
}

// where says where each object is, by its id; nowhere are those that are absent.
func (w *world) where() map[sharedbase.ObjID]sharedbase.Location {
	w.Helper()
	at, err := w.base.Locate(w.Context(), ids)
	expect.NoError(w, err)
	found := map[sharedbase.ObjID]sharedbase.Location{}
	for i, l := range at {
		if l.ShardID != 0 {
			found[ids[i]] = l
		}
	}
	return found
}
