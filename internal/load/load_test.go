// SPDX-License-Identifier: GPL-3.0-or-later

package load_test

import (
	"bytes"
	"compress/flate"
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http/httptest"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"winery/internal/httpapi/rpc"
	"winery/internal/httpapi/rpc/client"
	"winery/internal/httpapi/rpc/rpctest"
	"winery/internal/load"
	"winery/test/expect"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sizes are n sizes of a distribution, in ascending order, and their mean.
func sizes(of load.Sizes, n int) (all []int64, mean int64) {
	random := rand.New(rand.NewPCG(1, 2))
	for range n {
		size := of(random)
		all, mean = append(all, size), mean+size
	}
	slices.Sort(all)
	return all, mean / int64(n)
}

func TestSizes(t *testing.T) {
	near := func(what string, got, want int64) {
		t.Helper()
		if got < want*8/10 || got > want*12/10 {
			t.Errorf("%s is %d bytes, want about %d", what, got, want)
		}
	}
	const n = 100_000
	source, mean := sizes(load.Source, n)
	near("the median of source", source[n/2], 3000)
	near("the mean of source", mean, 9000)
	production, mean := sizes(load.Production, n)
	near("the median of production", production[n/2], 3500)
	near("the 90th percentile of production", production[n*90/100], 65_000)
	near("the 99th percentile of production", production[n*99/100], 1_500_000)
	near("the mean of production", mean, 140_000)
	if largest := production[n-1]; largest > 68_000_000 {
		t.Errorf("the largest object of production has %d bytes", largest)
	}
}

// Objects differ, are the same in each run, and compress like source code.
func TestObjects(t *testing.T) {
	objects, same := load.Objects{Sizes: load.Source, Seed: 7}, load.Objects{Sizes: load.Source, Seed: 7}
	other := load.Objects{Sizes: load.Source, Seed: 8}
	seen := map[[32]byte]bool{}
	var all bytes.Buffer
	for range 200 {
		o, again := objects.Next(), same.Next()
		if o.ID != again.ID || o.ID != sha256.Sum256(o.Content) {
			t.Fatal("the object is not the same again, or its id is not its SHA-256")
		}
		seen[o.ID], seen[other.Next().ID] = true, true
		all.Write(o.Content)
	}
	if len(seen) != 400 {
		t.Errorf("%d of 400 objects differ", len(seen))
	}
	var compressed bytes.Buffer
	w, err := flate.NewWriter(&compressed, flate.DefaultCompression)
	expect.NoError(t, err)
	_, err = w.Write(all.Bytes())
	expect.NoError(t, errors.Join(err, w.Close()))
	if share := 100 * compressed.Len() / all.Len(); share < 20 || share > 45 {
		t.Errorf("the objects compress to %d %%; source code to about 30 %%", share)
	}
	objects.Repeated = 1
	if o := objects.Next(); !seen[o.ID] {
		t.Error("an object that should repeat an earlier one is new")
	}
}

func newClient(t *testing.T, store *rpctest.Store) *client.Client {
	t.Helper()
	server := httptest.NewServer(rpc.NewHandler(store, rpc.Options{Log: slog.New(slog.DiscardHandler)}))
	t.Cleanup(server.Close)
	c, err := client.New(server.URL, client.Connections(4), client.RetryFor(0))
	expect.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func TestClients(t *testing.T) {
	for _, batch := range []int{1, 5} {
		var store rpctest.Store
		clients := load.Clients{To: newClient(t, &store), Count: 4, Batch: batch}
		objects, stored := load.Objects{Sizes: load.Source, Seed: 1}, new(load.IDs)
		r, err := clients.Add(t.Context(), &objects, 100, stored)
		expect.NoError(t, err)
		if r.Objects != 100 || store.Len() != 100 || len(stored.All()) != 100 || r.Latency.TotalCount() != int64(100/batch) {
			t.Errorf("%d objects in %d requests; %d are stored, %d ids", r.Objects, r.Latency.TotalCount(), store.Len(), len(stored.All()))
		}
		got, err := clients.Get(t.Context(), stored, 50)
		expect.NoError(t, err)
		if got.Objects != 50 || got.Bytes == 0 || got.FirstByte.TotalCount() != int64(50/batch) || got.Rate() <= 0 || got.Throughput() <= 0 {
			t.Errorf("read: %+v", got)
		}
	}
}

// What is in flight when the time is over is completed, and no more is sent.
func TestEndOfTime(t *testing.T) {
	var store rpctest.Store
	ctx, end := context.WithCancel(t.Context())
	store.Before(func(request context.Context) error {
		end()
		return request.Err()
	})
	r, err := load.Clients{To: newClient(t, &store), Count: 1, Batch: 1}.Add(ctx, &load.Objects{Sizes: load.Source}, 100, new(load.IDs))
	expect.NoError(t, err)
	if r.Objects != 1 || store.Len() != 1 {
		t.Errorf("%d objects counted, %d stored", r.Objects, store.Len())
	}
}

func TestErrors(t *testing.T) {
	var store rpctest.Store
	clients := load.Clients{To: newClient(t, &store), Count: 4, Batch: 1}
	if _, err := clients.Get(t.Context(), new(load.IDs), 1); err == nil {
		t.Error("objects were read, of which there are none")
	}
	missing := new(load.IDs)
	missing.Add([32]byte{1})
	for _, clients.Batch = range []int{1, 2} {
		if _, err := clients.Get(t.Context(), missing, 2); !errors.Is(err, client.ErrNotFound) {
			t.Errorf("an object that is not there, %d a request: %v", clients.Batch, err)
		}
	}
	store.Fail(errors.New("broken"))
	if _, err := clients.Add(t.Context(), &load.Objects{Sizes: load.Source}, 1000, new(load.IDs)); err == nil {
		t.Error("a store that fails is no error")
	}
	clients.Count = 0
	if _, err := clients.Add(t.Context(), &load.Objects{Sizes: load.Source}, 1, new(load.IDs)); err == nil {
		t.Error("no client is no error")
	}
}
