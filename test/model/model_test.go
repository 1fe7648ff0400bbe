// SPDX-License-Identifier: GPL-3.0-or-later

package model

import (
	"flag"
	"strconv"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"winery/internal/config"
	"winery/test/expect"
	"winery/test/pgtest"
	"winery/test/roletest"
)

// lives is how many random lives there are on directories, and steps how long
// they are on average, unless the command line says otherwise. On Ceph, which is
// slower, there are fewer.
const lives, fewer, steps = 8, 4, 60

func TestMain(m *testing.M) {
	_ = flag.Set("rapid.checks", strconv.Itoa(lives))
	_ = flag.Set("rapid.steps", strconv.Itoa(steps))
	goleak.VerifyTestMain(m)
}

func TestModel(t *testing.T) {
	t.Run("directory", func(t *testing.T) { live(t, directory(t, "first"), directory(t, "second")) })
	t.Run("rbd", func(t *testing.T) {
		fewerLives(t)
		ceph := roletest.RBD(t)
		ceph.ShardMaxSize = 1 << 20 // more than all objects have
		live(t, ceph, directory(t, "second"))
	})
}

func directory(t *testing.T, name string) config.Pool {
	c := roletest.Directory(t, "")
	c.Name = name
	return c
}

func fewerLives(t *testing.T) {
	checks := flag.Lookup("rapid.checks").Value
	all := checks.String()
	n, err := strconv.Atoi(all)
	expect.NoError(t, err)
	expect.NoError(t, checks.Set(strconv.Itoa(max(1, n/fewer))))
	t.Cleanup(func() { expect.NoError(t, checks.Set(all)) })
}

// live runs lives over two pools, of which new shards are in the first.
func live(t *testing.T, configured ...config.Pool) {
	stores := roletest.OpenPools(t, true, configured...)
	dsn := pgtest.New(t)
	rapid.Check(t, func(r *rapid.T) {
		partitions := rapid.SampledFrom([]int{1, 5}).Draw(r, "partitions of the index")
		r.Repeat(rapid.StateMachineActions(newWorld(run{t, r}, dsn, partitions, configured, stores)))
	})
}
