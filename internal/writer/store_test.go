// SPDX-License-Identifier: GPL-3.0-or-later

package writer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"testing"

	"winery/internal/config"
	"winery/internal/httpapi"
	"winery/internal/ingest"
	"winery/internal/limits"
	"winery/internal/reader"
	"winery/pool"
	"winery/sharedbase"
)

// TestTranslate has what the store's parts fail with, and the statuses in both APIs.
func TestTranslate(t *testing.T) {
	for _, c := range []struct {
		err        error
		rpc, plain int
		text       string // its begin
	}{
		{reader.ErrNotFound, 400, 404, "object not found"},
		{sharedbase.ErrNotFound, 400, 404, "object not found"},
		{&reader.CorruptError{Shard: "s", Err: errors.New("a flipped bit")}, 400, 500, "the stored object is damaged"},
		{&reader.CorruptError{Shard: "s", Err: sharedbase.ErrUnavailable}, 400, 500, "the stored object is damaged"},
		{sharedbase.ErrUnavailable, 503, 503, "the database is unavailable"},
		{sharedbase.ErrFull, 503, 503, "the database's disk is full"},
		{fmt.Errorf("%w: %w", ingest.ErrBusy, sharedbase.ErrUnavailable), 503, 503, "the database is unavailable"},
		{ingest.ErrBusy, 503, 503, "the writer is busy"},
		{ingest.ErrClosed, 503, 503, "the server is shutting down"},
		{sharedbase.ErrContended, 503, 503, "another transaction holds the object's row"},
		{fmt.Errorf("%w: %w", sharedbase.ErrContended, sharedbase.ErrUnavailable), 503, 503, "another transaction holds the object's row"},
		{&sharedbase.StateError{Shard: "s"}, 503, 503, "the writer has lost the claim to its shard"},
		{sharedbase.ErrLeaseLost, 503, 503, "the writer has lost the claim to its shard"},
		{pool.ErrNotMapped, 503, 503, "the image of the object's shard is not mapped"},
		{reader.ErrImageUnavailable, 503, 503, "the image of the object's shard does not answer"},
		{pool.ErrUnavailable, 503, 503, "the store of the object's pool does not answer"},
		{pool.ErrNoPool, 503, 503, "the object's pool does not exist"},
		{&pool.AccessError{Pool: "shards", What: "the secret key is wrong", Cure: "correct it"}, 503, 503, "the store of the object's pool does not let this server read"},
		{reader.ErrPoolNotConfigured, 503, 503, "the object's pool is not configured on this server"},
		{context.DeadlineExceeded, 503, 503, "the object storage did not answer in time"},
		{sharedbase.ErrNotInitialised, 500, 500, "internal error"},
		{&sharedbase.VersionError{Found: 4, Want: 5}, 500, 500, "internal error"},
		{errors.New("permission denied for table signature2shard"), 500, 500, "internal error"},
	} {
		got := httpapi.Describe(httptest.NewRecorder(), translate(fmt.Errorf("object X: %w", c.err)))
		if got.RPC != c.rpc || got.Plain != c.plain || len(got.Text) < len(c.text) || got.Text[:len(c.text)] != c.text {
			t.Errorf("%v: %+v", c.err, got)
		}
	}
	if err := translate(nil); err != nil {
		t.Error(err)
	}
}

// TestHashCache: the reader has the cache that the configuration names, or none.
func TestHashCache(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	for _, directory := range []string{"", t.TempDir()} {
		c := &config.Config{ReadOnly: true, Winery: config.Winery{HashCache: config.HashCache{Directory: directory, Size: 1 << 20}}}
		hashes := newStore(Options{Config: c}, log).reader.Hashes
		if (hashes != nil) != (directory != "") || hashes != nil && (hashes.Directory != directory || hashes.Size != 1<<20) {
			t.Errorf("directory %q: %+v", directory, hashes)
		}
	}
}

// TestReadMemory: requests that are within the budget for answers find memory to read.
func TestReadMemory(t *testing.T) {
	for _, c := range []struct{ memory, maxObjectSize, want int64 }{
		{limits.None, 0, 512 << 20}, {4 << 30, 400 << 20, 800 << 20}, {1 << 30, 400 << 20, 256 << 20},
	} {
		configured := &config.Config{Winery: config.Winery{MaxObjectSize: c.maxObjectSize}}
		if got := readMemory(configured, limits.Limits{Memory: c.memory}); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
}
