// SPDX-License-Identifier: GPL-3.0-or-later

package e2e

import (
	"path/filepath"
	"runtime"
	"testing"

	"go.uber.org/goleak"

	"winery/sharedbase"
	"winery/test/cephtest"
	"winery/test/expect"
	"winery/test/fleettest"
	"winery/test/harness"
	"winery/test/s3test"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(s3test.Tests{M: m}) }

// eachPool runs a test once with images in a directory, once on Ceph, and once in S3.
func eachPool(t *testing.T, test func(t *testing.T, o harness.Options)) {
	t.Run("directory", func(t *testing.T) {
		t.Parallel()
		test(t, fleettest.Options(t))
	})
	t.Run("rbd", func(t *testing.T) {
		t.Parallel()
		ceph := cephtest.New(t)
		o := fleettest.Options(t)
		o.CephConf, o.CephPool = ceph.Conf, ceph.Pool
		test(t, o)
	})
	t.Run("s3", func(t *testing.T) {
		t.Parallel()
		o := fleettest.Options(t)
		var err error
		o.S3, err = s3test.Versity(t).Place(t.Context())
		expect.NoError(t, err)
		test(t, o)
	})
}

// goSource is a part of the Go installation's sources.
func goSource(t *testing.T, part string) *harness.Source {
	t.Helper()
	src, err := harness.ReadSource(filepath.Join(runtime.GOROOT(), "src", part))
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func noStep(string, int64) func(int) { return func(int) {} }

func TestSourceTreeThroughEveryRoleAndBack(t *testing.T) {
	eachPool(t, func(t *testing.T, o harness.Options) {
		src := goSource(t, "net")
		o.ShardMaxSize = src.Bytes / 12 // a group commit may fill a shard to twice its size
		f := fleettest.New(t, o)
		report, err := f.Path(fleettest.Within(t), src, func(s string) { t.Log(s) }, noStep)
		if err != nil {
			t.Fatal(err)
		}
		if n := report.Shards[sharedbase.StateReadOnly]; n < 5 {
			t.Errorf("%d shards are read-only, want at least 5: %v", n, report.Shards)
		}
		if report.Pack.Bytes == 0 || report.PackedBytes == 0 || report.ImageBytes < report.PackedBytes {
			t.Errorf("packed %d bytes into images of %d; there are images of %d", report.Pack.Bytes, report.PackedBytes, report.ImageBytes)
		}
	})
}
