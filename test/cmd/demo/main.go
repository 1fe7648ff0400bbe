// SPDX-License-Identifier: GPL-3.0-or-later

// Demo takes a source tree through a whole Winery of real processes and back:
// a private PostgreSQL and Ceph, the writer, the packer, the mapper and the
// cleaner. It exits 0 only if every byte came back, and leaves nothing running.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"time"

	"winery/sharedbase"
	"winery/test/harness"
	"winery/test/s3test"
)

// shards is how many shards the tree should fill. The maximal size of a shard
// is chosen for it, with some more, because a shard ends with a whole object.
const shards = 6

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo failed:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	kind := flag.String("pool", "rbd", "where images go: rbd (a Ceph of its own), directory, mosaic (a directory, compressed) or mosaic-s3 (an S3 server of its own)")
	src := flag.String("src", filepath.Join(runtime.GOROOT(), "src"), "the tree of files to store")
	root := flag.String("root", ".", "the project's folder, with bin and scripts")
	flag.Parse()
	if !slices.Contains([]string{"rbd", "directory", "mosaic", "mosaic-s3"}, *kind) {
		return fmt.Errorf("-pool %s: it is rbd, directory, mosaic or mosaic-s3", *kind)
	}

	show := newDisplay()
	show.say("reading " + *src)
	source, err := harness.ReadSource(*src)
	if err != nil {
		return err
	}
	if source.Bytes < 1<<20 {
		return fmt.Errorf("-src %s: it holds %d bytes; a MiB is the least to fill %d shards from", *src, source.Bytes, shards)
	}

	dir, err := os.MkdirTemp("", "winery-demo-")
	if err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // user postgres passes through
		return err
	}
	defer func() {
		if err == nil {
			err = os.RemoveAll(dir)
		} else {
			show.say("the logs stay in " + dir)
		}
	}()
	show.say("starting PostgreSQL" + map[bool]string{true: " and Ceph"}[*kind == "rbd"] + " in " + dir)
	services, err := harness.StartServices(ctx, filepath.Join(*root, "scripts"), dir, *kind == "rbd")
	defer func() { err = errors.Join(err, services.Stop()) }()
	if err != nil {
		return err
	}

	o := harness.Options{
		Dir: dir, Bin: filepath.Join(*root, "bin"), DSN: services.DSN,
		Mosaic: *kind == "mosaic", CephConf: services.CephConf, CephPool: harness.PoolName,
		ShardMaxSize: source.Bytes / (shards + 1),
	}
	if *kind == "mosaic-s3" {
		show.say("starting the S3 server versitygw")
		server, err := s3test.Run("versitygw")
		if err != nil {
			return err
		}
		defer server.Kill()
		if o.S3, err = server.Place(ctx); err != nil {
			return err
		}
	}

	show.say("filling the database, starting the four daemons")
	f, err := harness.New(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	report, err := f.Path(ctx, source, show.say, show.step)
	if err != nil {
		return err
	}
	if n := report.Shards[sharedbase.StateReadOnly]; n < shards-1 {
		return fmt.Errorf("only %d shards became read-only", n)
	}
	stored, err := services.CephStored(ctx)
	if err != nil {
		return err
	}
	return show.table(report, stored, time.Since(show.began))
}
