// SPDX-License-Identifier: GPL-3.0-or-later

package cephtest_test

import (
	"slices"
	"testing"

	"winery/test/cephtest"
)

func TestPoolsComeAndGo(t *testing.T) {
	c := cephtest.Connect(t)
	var p cephtest.Pool
	t.Run("inner", func(t *testing.T) {
		p = cephtest.New(t)
		io, err := c.OpenIOContext(p.DataPool)
		if err != nil {
			t.Fatal(err)
		}
		defer io.Destroy()
		if err := io.WriteFull("object", []byte("bytes")); err != nil {
			t.Error(err)
		}
	})
	if err := c.WaitForLatestOSDMap(); err != nil {
		t.Fatal(err)
	}
	pools, err := c.ListPools()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{p.Pool, p.DataPool} {
		if slices.Contains(pools, name) {
			t.Errorf("pool %s outlived its test", name)
		}
	}
}
