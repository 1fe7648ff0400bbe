// SPDX-License-Identifier: GPL-3.0-or-later

package rbd_test

import (
	"testing"

	"go.uber.org/goleak"

	"winery/internal/testceph"
	"winery/pool"
	"winery/pool/pooltest"
	"winery/rbd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// settings are those of a test's pools, read through librbd. The size of an
// image is no multiple of the size of its objects.
func settings(p testceph.Pool) rbd.Settings {
	return rbd.Settings{
		PoolName: p.Pool, DataPool: p.DataPool, Conf: p.Conf,
		ShardMaxSize: 4_800_000, CreateImages: true, MapMode: rbd.MapLibrbd,
	}
}

func open(t *testing.T, s rbd.Settings) *rbd.Pool {
	t.Helper()
	p, err := rbd.New(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func TestConformance(t *testing.T) {
	s := settings(testceph.New(t))
	pooltest.Run(t, func(t *testing.T) pool.Pool {
		p := open(t, s)
		t.Cleanup(func() { removeAll(t, p) })
		return p
	})
}
