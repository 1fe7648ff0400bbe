// SPDX-License-Identifier: GPL-3.0-or-later

// Chaos runs a whole Winery of real processes under load while it kills and
// stops processes, breaks PostgreSQL, Ceph, the network and the disk, and then
// proves that nothing that was acknowledged is lost and nothing is stuck. See
// docs/chaos.md. It exits 0 only if that is so, and leaves nothing running.
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
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := chaos(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

func chaos(ctx context.Context) error {
	began := time.Now()
	o := Options{Say: func(format string, args ...any) {
		fmt.Printf("%7.1f s  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}}
	flag.StringVar(&o.Root, "root", ".", "the project's folder, with bin and scripts")
	flag.StringVar(&o.Pool, "pool", "rbd", "where images go: rbd (a Ceph of its own) or directory (needs root)")
	flag.DurationVar(&o.Duration, "duration", 30*time.Minute, "how long there are load and faults")
	lease := flag.Int("lease", 60, "winery.lease, in seconds")
	flag.Uint64Var(&o.Seed, "seed", 0, "the plan of an earlier run; 0: a new one")
	flag.Parse()
	o.Lease = time.Duration(*lease) * time.Second
	if o.Seed == 0 {
		o.Seed = uint64(rand.Uint32())
	}
	report, err := Run(ctx, o)
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
