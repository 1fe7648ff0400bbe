// SPDX-License-Identifier: GPL-3.0-or-later

// Package cephtest gives each test a pair of Ceph pools of its own.
//
// The Ceph is the one that CEPH_CONF names, and its user must be allowed to
// make and delete pools. Tests that need a Ceph fail where there is none: a
// test that is skipped in silence proves nothing.
package cephtest

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/ceph/go-ceph/rados"
	"golang.org/x/sync/errgroup"
)

// Env is the environment variable that holds the path of the test Ceph's
// ceph.conf.
const Env = "CEPH_CONF"

// Pool is a pair of RBD pools.
type Pool struct {
	Conf     string // path of the ceph.conf
	Pool     string // for the images
	DataPool string // for their data: Pool with "-data" appended, which is the default
}

// New makes a pair of empty pools. They are removed with all their contents when
// the test ends.
func New(t testing.TB) Pool {
	t.Helper()
	p := Pool{Conf: conf(t), Pool: "test-" + strings.ToLower(rand.Text())}
	p.DataPool = p.Pool + "-data"
	c := Connect(t)
	t.Cleanup(func() {
		both(t, c, p, func(name string) command {
			return command{"prefix": "osd pool delete", "pool": name, "pool2": name, "yes_i_really_really_mean_it": true}
		})
	})
	// Few placement groups, and left at that: a monitor refuses pools that
	// would bring an OSD above 250, and a split in mid-test would be a stall.
	both(t, c, p, func(name string) command {
		return command{"prefix": "osd pool create", "pool": name, "pg_num": 4, "autoscale_mode": "off"}
	})
	both(t, c, p, func(name string) command {
		return command{"prefix": "osd pool application enable", "pool": name, "app": "rbd"}
	})
	return p
}

// Connect returns a connection to the test Ceph that lasts as long as the test.
func Connect(t testing.TB) *rados.Conn {
	t.Helper()
	c, err := rados.NewConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.ReadConfigFile(conf(t)); err != nil {
		t.Fatalf("%s=%s: %v", Env, conf(t), err)
	}
	for _, option := range []string{"client_mount_timeout", "rados_mon_op_timeout"} {
		if err := c.SetConfigOption(option, "60"); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Connect(); err != nil {
		t.Fatalf("the Ceph of %s=%s does not answer: %v", Env, conf(t), err)
	}
	t.Cleanup(c.Shutdown)
	return c
}

type command = map[string]any

// Command gives the monitors a command, as `ceph` does, and fails the test if
// they refuse it.
func Command(t testing.TB, c *rados.Conn, order map[string]any) []byte {
	t.Helper()
	out, err := run(c, order)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// both gives a command for each pool of a pair at the same time, since the
// monitors take about a second for any number of them.
func both(t testing.TB, c *rados.Conn, p Pool, order func(pool string) command) {
	t.Helper()
	var g errgroup.Group
	for _, name := range []string{p.Pool, p.DataPool} {
		g.Go(func() error {
			_, err := run(c, order(name))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

func run(c *rados.Conn, order command) ([]byte, error) {
	text, err := json.Marshal(order)
	if err != nil {
		return nil, err
	}
	out, status, err := c.MonCommand(text)
	if err != nil {
		return nil, fmt.Errorf("ceph %s: %w: %s", text, err, status)
	}
	return out, nil
}

func conf(t testing.TB) string {
	t.Helper()
	path := os.Getenv(Env)
	if path == "" {
		t.Fatalf("%s is not set: run `make test`, or `scripts/with-services go test …`", Env)
	}
	return path
}
