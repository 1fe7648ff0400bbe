// SPDX-License-Identifier: GPL-3.0-or-later

package rbd_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"winery/pool"
	"winery/test/cephtest"
	"winery/test/expect"
)

// TestCheckAccess: what a user's caps do not allow is found without trying it for real:
// neither objects nor the blocklist change.
func TestCheckAccess(t *testing.T) {
	t.Parallel()
	pools := cephtest.New(t)
	all := fmt.Sprintf("profile rbd pool=%s, profile rbd pool=%s", pools.Pool, pools.DataPool)
	for name, c := range map[string]struct {
		mon, osd    string
		read, write string // what is refused; "": nothing
	}{
		"all":              {"profile rbd", all, "", ""},
		"read-only":        {"profile rbd", strings.ReplaceAll(all, "rbd ", "rbd-read-only "), "", "write to pool " + pools.Pool},
		"read-only data":   {"profile rbd", strings.Replace(all, "profile rbd pool="+pools.DataPool, "profile rbd-read-only pool="+pools.DataPool, 1), "", "write to pool " + pools.DataPool},
		"no data":          {"profile rbd", "profile rbd pool=" + pools.Pool, "read pool " + pools.DataPool, "read pool " + pools.DataPool},
		"no images":        {"profile rbd", "profile rbd pool=" + pools.DataPool, "read the images of pool " + pools.Pool, "read the images of pool " + pools.Pool},
		"no class methods": {"profile rbd", strings.ReplaceAll(all, "profile rbd ", "allow rw "), "read the images of pool " + pools.Pool, "read the images of pool " + pools.Pool},
		"no blocklist":     {"allow r", all, "", "put a dead writer on the blocklist"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := settings(pools)
			s.Conf, s.User = cephtest.User(t, c.mon, c.osd)
			p := open(t, s)
			for write, refused := range map[bool]string{false: c.read, true: c.write} {
				err := p.CheckAccess(t.Context(), write)
				if refused == "" {
					expect.NoError(t, err)
					continue
				}
				access, ok := errors.AsType[*pool.AccessError](err)
				if !ok || access.What != "Ceph does not let client."+s.User+" "+refused || !strings.HasPrefix(access.Cure, "ceph auth caps client."+s.User+" mon '") {
					t.Errorf("with write %v: %v", write, err)
				}
			}
		})
	}
	t.Cleanup(func() { // after the parallel subtests
		for _, name := range []string{pools.Pool, pools.DataPool} {
			expect.NoError(t, ioContext(t, name).ListObjects(func(object string) { t.Errorf("object %s was made in %s", object, name) }))
		}
		out := cephtest.Command(t, cephtest.Connect(t), map[string]any{"prefix": "osd blocklist ls", "format": "json"})
		if strings.Contains(string(out), "nobody") {
			t.Errorf("the blocklist has %s", out)
		}
	})
}

// TestCheckAccessNoDataPool: a data pool that does not exist is said so.
func TestCheckAccessNoDataPool(t *testing.T) {
	t.Parallel()
	s := settings(cephtest.New(t))
	s.DataPool = "absent"
	wantErr := open(t, s).CheckAccess(t.Context(), false)
	if !errors.Is(wantErr, pool.ErrNoPool) || !strings.Contains(wantErr.Error(), `no pool "absent" in Ceph`) {
		t.Errorf("got %v", wantErr)
	}
}
