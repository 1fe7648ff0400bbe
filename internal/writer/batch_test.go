// SPDX-License-Identifier: GPL-3.0-or-later

package writer_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"

	"winery/internal/httpapi/rpc/client"
	"winery/internal/importer"
	"winery/internal/storage"
	"winery/internal/writer"
	"winery/pool"
	"winery/test/expect"
	"winery/test/roletest"
)

// readOnlyImage makes a read-only server of a shard that has its image alone. hooked is
// its pool.
func readOnlyImage(t *testing.T) (o writer.Options, hooked *roletest.Hooked, ids [][32]byte, contents [][]byte) {
	t.Helper()
	o = options(t)
	o.Config.ReadOnly = true
	shards := o.Pools["shards"]
	expect.NoError(t, shards.Init(t.Context()))
	objects := roletest.Objects(1, 20, 100_000)
	roletest.Put(t, shards, "one", objects)
	_, err := (&importer.Importer{Base: o.Base}).Import(t.Context(), shards, "one")
	expect.NoError(t, err)
	for _, object := range objects {
		ids, contents = append(ids, object.ID), append(contents, object.Content)
	}
	hooked = &roletest.Hooked{Pool: shards}
	o.Pools = storage.Set{"shards": hooked}
	return o, hooked, ids, contents
}

// TestBatchOfUnavailable: no answer takes an object for missing whose image cannot be read.
func TestBatchOfUnavailable(t *testing.T) {
	o, shards, ids, contents := readOnlyImage(t)
	unavailable := func(t *testing.T, status int, says string) {
		t.Helper()
		s := start(t, o)
		defer s.end()
		c, err := client.New("http://"+s.address, client.RetryFor(0))
		expect.NoError(t, err)
		defer c.Close()
		batch, batchErr := c.GetBatch(t.Context(), append([][32]byte{{1}}, ids...))
		_, getErr := c.Get(t.Context(), ids[0])
		for what, err := range map[string]error{"get_batch": batchErr, "get": getErr} {
			if answered := new(client.Error); !errors.As(err, &answered) || answered.Status != status || !strings.Contains(answered.Message, says) {
				t.Errorf("%s: %v, want status %d: %s", what, err, status, says)
			}
		}
		if batch != nil {
			t.Errorf("get_batch: %d objects", len(batch))
		}
	}
	for what, c := range map[string]struct {
		err    error
		status int
		says   string
	}{
		"no answer":     {pool.ErrUnavailable, 503, "does not answer"},
		"a wrong key":   {&pool.AccessError{Pool: "shards", What: "the session token has expired", Cure: "renew it"}, 503, "does not let"},
		"no bucket":     {pool.ErrNoPool, 503, "does not exist"},
		"another error": {syscall.EIO, 500, "internal error"},
	} {
		for _, point := range []roletest.Point{roletest.OpenMapped, roletest.Read} {
			t.Run(what+": "+string(point), func(t *testing.T) {
				shards.At = func(at roletest.Point, _ string) error {
					if at == point {
						return c.err
					}
					return nil
				}
				unavailable(t, c.status, c.says)
			})
		}
	}
	t.Run("a pool that is not configured", func(t *testing.T) {
		configured := o.Pools
		defer func() { o.Pools = configured }()
		o.Pools = storage.Set{}
		unavailable(t, 503, "is not configured")
	})
	t.Run("cured", func(t *testing.T) {
		shards.At = nil
		s := start(t, o)
		defer s.end()
		batch, err := connect(t, "http://"+s.address).GetBatch(t.Context(), append([][32]byte{{1}}, ids...))
		if err != nil || len(batch) != 1+len(contents) || batch[0] != nil || !slices.EqualFunc(batch[1:], contents, bytes.Equal) {
			t.Errorf("%d objects, %v", len(batch), err)
		}
	})
}
