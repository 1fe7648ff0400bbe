// SPDX-License-Identifier: GPL-3.0-or-later

package fleettest

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"go.uber.org/goleak"

	"winery/internal/fleet"
	"winery/internal/testceph"
	"winery/internal/testpg"
	"winery/sharedbase"
)

// root is the project's folder.
const root = "../.."

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// eachPool runs a test once with images in a directory and once on Ceph.
func eachPool(t *testing.T, test func(t *testing.T, o fleet.Options)) {
	t.Run("directory", func(t *testing.T) { test(t, options(t)) })
	t.Run("rbd", func(t *testing.T) {
		ceph := testceph.New(t)
		o := options(t)
		o.CephConf, o.CephPool = ceph.Conf, ceph.Pool
		test(t, o)
	})
}

// options are those of a fleet on a database of its own.
func options(t *testing.T) fleet.Options {
	t.Helper()
	bin, err := filepath.Abs(filepath.Join(root, "bin"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(bin, fleet.Writer)); err != nil {
		t.Fatalf("%v: run make build first", err)
	}
	return fleet.Options{Dir: t.TempDir(), Bin: bin, DSN: testpg.New(t)}
}

// newFleet makes a fleet that is closed before its database goes.
func newFleet(t *testing.T, o fleet.Options) *fleet.Fleet {
	t.Helper()
	f, err := fleet.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			showLogs(t, o.Dir)
		}
	})
	return f
}

// showLogs prints what the daemons had to say other than that all is well.
func showLogs(t *testing.T, dir string) {
	logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil {
		t.Error(err)
	}
	for _, path := range logs {
		log, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
		}
		for line := range bytes.Lines(log) {
			if !bytes.Contains(line, []byte(`"level":"INFO"`)) {
				t.Logf("%s: %s", filepath.Base(path), line)
			}
		}
	}
}

// goSource is a part of the Go installation's sources.
func goSource(t *testing.T, part string) *fleet.Source {
	t.Helper()
	src, err := fleet.ReadSource(filepath.Join(runtime.GOROOT(), "src", part))
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// within gives the test's context with an end.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func noStep(string, int64) func(int) { return func(int) {} }

func TestSourceTreeThroughEveryRoleAndBack(t *testing.T) {
	eachPool(t, func(t *testing.T, o fleet.Options) {
		src := goSource(t, "net")
		o.ShardMaxSize = src.Bytes / 12 // a group commit may fill a shard to twice its size
		f := newFleet(t, o)
		report, err := f.Path(within(t, time.Minute), src, func(s string) { t.Log(s) }, noStep)
		if err != nil {
			t.Fatal(err)
		}
		if n := report.Shards[sharedbase.StateReadOnly]; n < 5 {
			t.Errorf("%d shards are read-only, want at least 5: %v", n, report.Shards)
		}
		if report.Pack.Bytes == 0 || report.ImageBytes < report.Pack.Bytes {
			t.Errorf("packed %d bytes into images of %d", report.Pack.Bytes, report.ImageBytes)
		}
	})
}
