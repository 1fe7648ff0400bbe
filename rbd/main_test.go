// SPDX-License-Identifier: GPL-3.0-or-later

package rbd_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/ceph/go-ceph/rados"
	"go.uber.org/goleak"

	"winery/pool"
	"winery/pool/pooltest"
	"winery/rbd"
	"winery/test/cephtest"
	"winery/test/expect"
)

// victimPool asks the test binary to write a draft in this pool and wait.
const victimPool = "RBD_TEST_VICTIM"

// creatorSettings asks it to make an image with these settings, in JSON, and
// to print the error.
const creatorSettings = "RBD_TEST_CREATOR"

func TestMain(m *testing.M) {
	if s := os.Getenv(creatorSettings); s != "" {
		if err := create(s); err != nil {
			fmt.Println(err)
		}
		os.Exit(0)
	}
	if name := os.Getenv(victimPool); name != "" {
		p, err := rbd.New(settings(cephtest.Pool{Pool: name}))
		if err == nil {
			err = pooltest.BeVictim(p, "one")
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	// The tests wait for Ceph, more than they compute.
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

func TestConformance(t *testing.T) {
	t.Parallel()
	pools := cephtest.New(t)
	// As a packer: nothing needs more.
	s, io := withCaps(t, pools, rbd.WriteCaps(pools.Pool, pools.DataPool)), ioContext(t, pools.Pool)
	pooltest.Run(t, func(t *testing.T) pool.Pool {
		p := open(t, s)
		t.Cleanup(func() {
			removeAll(t, p)
			if err := io.Delete("winery_marker"); err != nil && !errors.Is(err, rados.ErrNotFound) {
				t.Error(err)
			}
		})
		return p
	})
}

// settings are those of a test's pools, read through librbd. An image is of
// 10 MiB, so that it ends inside one of its objects of 4 MiB.
func settings(p cephtest.Pool) rbd.Settings {
	return rbd.Settings{
		PoolName: p.Pool, DataPool: p.DataPool, Conf: p.Conf,
		ShardMaxSize: 4_800_000, CreateImages: true, MapMode: rbd.MapLibrbd,
	}
}

// open returns a pool that is closed with the test, which fails if an image of
// it is then still open.
func open(t testing.TB, s rbd.Settings) *rbd.Pool {
	t.Helper()
	p, err := rbd.New(s)
	expect.NoError(t, err)
	t.Cleanup(func() { expect.NoError(t, p.Close()) })
	return p
}

func removeAll(t *testing.T, p *rbd.Pool) {
	t.Helper()
	names, err := p.List(context.Background())
	expect.NoError(t, err)
	for _, name := range names {
		expect.NoError(t, p.Remove(context.Background(), name, pooltest.Anything{}))
	}
}
