// SPDX-License-Identifier: GPL-3.0-or-later

package rbd_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ceph/go-ceph/rados"

	"winery/pool"
	"winery/pool/pooltest"
	"winery/test/cephtest"
	"winery/test/expect"
)

// TestQuota: at the quota of either pool nothing may hang, what is stored must
// stay readable and erasable, and what needs space must say that there is none.
func TestQuota(t *testing.T) {
	t.Parallel()
	for _, which := range []string{"images", "data"} {
		t.Run(which, func(t *testing.T) {
			t.Parallel()
			pools := cephtest.New(t)
			p := open(t, settings(pools))
			content := make([]byte, 5<<20)
			for i := range content {
				content[i] = 'x'
			}
			before, err := p.Create(t.Context(), "before", 0, pooltest.Anything{})
			expect.NoError(t, err)
			_, err = before.WriteAt(content, 0)
			expect.NoError(t, err)
			expect.NoError(t, before.Commit(t.Context()))
			draft, err := p.Create(t.Context(), "draft", 0, pooltest.Anything{})
			expect.NoError(t, err)

			full := pools.DataPool
			if which == "images" {
				full = pools.Pool
			}
			reachQuota(t, full)
			expect.NoError(t, p.SeeOSDMap(t.Context()))
			defer hangsAfter(5 * time.Minute)()

			// The pool of the images holds no contents.
			if _, err := draft.WriteAt(content, 0); which == "data" && !errors.Is(err, pool.ErrFull) {
				t.Errorf("write: got %v, want ErrFull", err)
			}
			expect.NoError(t, draft.Abort(t.Context()))

			after, err := p.Create(t.Context(), "after", 0, pooltest.Anything{})
			if err == nil {
				_, err = after.WriteAt(content, 0)
				expect.NoError(t, after.Abort(t.Context()))
			}
			if !errors.Is(err, pool.ErrFull) {
				t.Errorf("a new image: got %v, want ErrFull", err)
			}

			img, err := p.Open(t.Context(), "before")
			expect.NoError(t, err)
			_, err = img.ReadAt(make([]byte, len(content)), 0)
			expect.NoError(t, err)
			expect.NoError(t, img.Close())
			e, err := p.Edit(t.Context(), "before", pooltest.Anything{})
			expect.NoError(t, err)
			_, err = e.WriteAt(make([]byte, 1<<20), 123)
			expect.NoError(t, err)
			expect.NoError(t, e.Flush())
			expect.NoError(t, e.Close())
			// librbd's removal goes through the trash, whose list is in the
			// images' pool and cannot grow at its quota.
			if which == "data" {
				expect.NoError(t, p.Remove(t.Context(), "before", pooltest.Anything{}))
			}
		})
	}
}

// reachQuota gives a pool a quota below what it holds, and waits until the monitor has seen
// that. A client that has the current map ([rbd.Pool.SeeOSDMap]) is refused from then on.
func reachQuota(t *testing.T, name string) {
	t.Helper()
	c := cephtest.Connect(t)
	cephtest.Command(t, c, map[string]any{"prefix": "osd pool set-quota", "pool": name, "field": "max_objects", "val": "1"})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for !atQuota(t, c, name) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("pool %s did not become full", name)
		}
	}
}

func atQuota(t *testing.T, c *rados.Conn, name string) bool {
	t.Helper()
	type poolInfo struct {
		Name  string `json:"pool_name"`
		Flags string `json:"flags_names"`
	}
	var m struct{ Pools []poolInfo }
	expect.NoError(t, json.Unmarshal(cephtest.Command(t, c, map[string]any{"prefix": "osd dump", "format": "json"}), &m))
	return slices.ContainsFunc(m.Pools, func(p poolInfo) bool {
		return p.Name == name && strings.Contains(p.Flags, "full_quota")
	})
}

// hangsAfter ends the tests, with a trace of what hangs, unless the returned
// function is called in time.
func hangsAfter(limit time.Duration) (done func()) {
	timer := time.AfterFunc(limit, func() { panic("a call hangs") })
	return func() { timer.Stop() }
}
