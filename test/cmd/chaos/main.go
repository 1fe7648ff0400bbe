// SPDX-License-Identifier: GPL-3.0-or-later

// Chaos is the program of "make chaos": see package winery/test/chaos and
// docs/chaos.md. It exits with 0 only if nothing was lost, wrong or stuck.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
	"time"

	"winery/test/chaos"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	began := time.Now()
	o := chaos.Options{Say: func(format string, args ...any) {
		fmt.Printf("%7.1f s  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}}
	flag.StringVar(&o.Root, "root", ".", "the project's folder, with bin and scripts")
	flag.StringVar(&o.Pool, "pool", "rbd", "where images go: rbd (a Ceph of its own), directory or mosaic (which need root), mosaic-s3 (an S3 server of its own)")
	flag.DurationVar(&o.Duration, "duration", 30*time.Minute, "how long there are load and faults")
	lease := flag.Int("lease", 60, "winery.lease, in seconds")
	flag.Uint64Var(&o.Seed, "seed", 0, "the plan of an earlier run; 0: a new one")
	flag.Parse()
	o.Lease = time.Duration(*lease) * time.Second
	if o.Seed == 0 {
		o.Seed = uint64(rand.Uint32())
	}
	report, err := chaos.Run(ctx, o)
	if err != nil {
		return err
	}
	if err := report.Print(os.Stdout); err != nil {
		return err
	}
	if report.Findings() > 0 {
		return errors.New("what must be 0 is not")
	}
	return nil
}
