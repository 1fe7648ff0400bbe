// SPDX-License-Identifier: GPL-3.0-or-later

package rbd_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"winery/pool"
	"winery/pool/pooltest"
	"winery/test/cephtest"
	"winery/test/expect"
)

// TestQuotaIsAsked: where the quota leaves too little room nothing is begun. What
// a dead packer left under the name counts as free.
func TestQuotaIsAsked(t *testing.T) {
	t.Parallel()
	pools := cephtest.New(t)
	pooltest.Kill(t, victimPool+"="+pools.Pool)
	c := cephtest.Connect(t)
	const quota = 20 << 20
	cephtest.Command(t, c, map[string]any{"prefix": "osd pool set-quota", "pool": pools.DataPool, "field": "max_bytes", "val": fmt.Sprint(quota)})
	stored := func() (n int64) {
		var df struct {
			Pools []struct {
				Name  string
				Stats struct {
					Stored int64
					Quota  int64 `json:"quota_bytes"`
				}
			}
		}
		expect.NoError(t, json.Unmarshal(cephtest.Command(t, c, map[string]any{"prefix": "df", "detail": "detail", "format": "json"}), &df))
		for _, p := range df.Pools {
			if p.Name == pools.DataPool && p.Stats.Quota > 0 {
				n = p.Stats.Stored
			}
		}
		return n
	}
	for deadline := time.Now().Add(5 * time.Minute); stored() < 10<<20; <-time.After(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("Ceph counts %d bytes", stored())
		}
	}
	p := open(t, settings(pools))
	_, err := p.Create(t.Context(), "two", 15<<20, pooltest.Anything{})
	if !errors.Is(err, pool.ErrFull) || !strings.Contains(err.Error(), fmt.Sprintf("%d bytes are needed, %d are free", 15<<20, quota-stored())) {
		t.Errorf("got %v, want ErrFull with both sizes", err)
	}
	if names, err := p.List(t.Context()); err != nil || slices.Contains(names, "two") {
		t.Errorf("there are %q, %v", names, err)
	}
	d, err := p.Create(t.Context(), "one", 15<<20, pooltest.Anything{})
	expect.NoError(t, err)
	expect.NoError(t, d.Abort(t.Context()))
}

// TestAbortFreesSpace: no object of the image's data is left.
func TestAbortFreesSpace(t *testing.T) {
	t.Parallel()
	pools := cephtest.New(t)
	s := settings(pools)
	s.ShardMaxSize = 4 << 20 // an image of two whole objects
	expect.NoError(t, write(t, open(t, s), "one", "text").Abort(t.Context()))
	iter, err := ioContext(t, pools.DataPool).Iter()
	expect.NoError(t, err)
	defer iter.Close()
	for iter.Next() {
		if !strings.HasPrefix(iter.Value(), "rbd_data.") {
			continue
		}
		t.Errorf("object %s is left", iter.Value())
	}
	expect.NoError(t, iter.Err())
}
