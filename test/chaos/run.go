// SPDX-License-Identifier: GPL-3.0-or-later

// Package chaos runs a whole Winery of real processes under load while it kills and
// stops processes, breaks PostgreSQL, Ceph, the network and the disk, and then
// proves that nothing that was acknowledged is lost and nothing is stuck. See
// docs/chaos.md.
package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"winery/internal/httpapi/rpc/client"
	"winery/test/harness"
	"winery/test/harness/relay"
	"winery/test/s3test"
)

const (
	dataPool     = harness.PoolName + "-data"
	shardMaxSize = 2 << 20
	eachRole     = 2               // processes
	settling     = 3 * time.Minute // and three leases: limit until all work is done without an operator
)

// Options of a run.
type Options struct {
	Root     string // the project's folder, with bin and scripts
	Pool     string // rbd, directory, mosaic or mosaic-s3
	Duration time.Duration
	Lease    time.Duration
	Seed     uint64
	Say      func(format string, args ...any)
}

// run is a fleet under load while it is being broken.
type run struct {
	Options
	dir       string
	disk      string         // the file system of a pool of files, else empty
	s3        *s3test.Server // nil without a pool on S3
	s3Relay   *relay.Relay
	began     time.Time
	services  *harness.Services
	fleet     *harness.Fleet
	processes []*process
	journal   *Journal
	load      *load
	recovery  *recovery
	readers   []*client.Client // as the load's, but patient

	mu       sync.Mutex
	counts   map[kind]map[string]int // faults that happened, by role
	findings []finding
}

// Run starts services and a fleet, breaks them for a while under load, lets
// them settle, and reports what came of it. Nothing of it stays but the logs of
// a run that failed or has findings.
func Run(ctx context.Context, o Options) (report *Report, err error) {
	if !slices.Contains([]string{"rbd", "directory", "mosaic", "mosaic-s3"}, o.Pool) {
		return nil, fmt.Errorf("pool %q: it is rbd, directory, mosaic or mosaic-s3", o.Pool)
	}
	r := &run{Options: o, counts: map[kind]map[string]int{}}
	if r.dir, err = os.MkdirTemp("", "winery-chaos-"); err != nil {
		return nil, err
	}
	if err := os.Chmod(r.dir, 0o755); err != nil { // user postgres passes through
		return nil, err
	}
	defer func() {
		if err == nil && report.Findings() == 0 {
			err = os.RemoveAll(r.dir)
		} else {
			o.Say("the logs stay in %s", r.dir)
		}
	}()
	if o.Pool == "mosaic-s3" {
		if r.s3, err = s3test.Run("versitygw"); err != nil {
			return nil, err
		}
		defer r.s3.Kill()
		if r.s3Relay, err = relay.To(strings.TrimPrefix(r.s3.Endpoint, "http://")); err != nil {
			return nil, err
		}
		defer r.s3Relay.Close()
	}
	if o.Pool == "directory" || o.Pool == "mosaic" {
		r.disk = filepath.Join(r.dir, harness.PoolName)
		if err := mountDisk(r.disk); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, unmountDisk(r.disk)) }()
	}
	o.Say("starting PostgreSQL%s in %s", map[bool]string{true: " and Ceph"}[o.Pool == "rbd"], r.dir)
	r.services, err = harness.StartServices(ctx, filepath.Join(o.Root, "scripts"), r.dir, o.Pool == "rbd")
	defer func() {
		if err != nil || report.Findings() > 0 {
			err = errors.Join(err, r.keepLogs())
		}
		err = errors.Join(err, r.services.Stop())
	}()
	if err != nil {
		return nil, err
	}
	return r.all(ctx)
}

// all is a run on services that are up.
func (r *run) all(ctx context.Context) (report *Report, err error) {
	bin, err := filepath.Abs(filepath.Join(r.Root, "bin"))
	if err != nil {
		return nil, err
	}
	o := harness.Options{
		Dir: r.dir, Bin: bin, DSN: r.services.DSN, CephConf: r.services.CephConf, CephPool: harness.PoolName,
		Mosaic:       r.Pool == "mosaic",
		ShardMaxSize: shardMaxSize, Lease: r.Lease,
	}
	if r.s3 != nil {
		if o.S3, err = r.s3.Place(ctx); err != nil {
			return nil, err
		}
		o.S3.Endpoint = "http://" + r.s3Relay.Address()
	}
	if r.fleet, err = harness.New(ctx, o); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.fleet.Close()) }()
	r.recovery, r.journal = newRecovery(r.fleet.Base), newJournal()
	r.load = &load{journal: r.journal, seed: r.Seed, acked: r.recovery.acked, errors: map[string]int{}}
	for n := range eachRole {
		patient, err := client.New("unix:"+socket(r.dir, n), client.RetryFor(time.Minute))
		if err != nil {
			return nil, err
		}
		defer patient.Close()
		once, err := client.New("unix:"+socket(r.dir, n), client.RetryFor(0), client.Timeout(patience))
		if err != nil {
			return nil, err
		}
		defer once.Close()
		r.readers, r.load.writers = append(r.readers, patient), append(r.load.writers, once)
	}
	// The writers come first: their numbers are those of the sockets.
	for _, role := range []string{harness.Writer, harness.Packer, harness.Mapper, harness.Cleaner} {
		for n := range eachRole {
			p, err := newProcess(r.fleet, role, n)
			if err != nil {
				return nil, err
			}
			r.processes = append(r.processes, p)
		}
	}
	supervision, stop := context.WithCancel(context.WithoutCancel(ctx))
	var supervised errgroup.Group
	defer func() {
		stop()
		err = errors.Join(err, supervised.Wait())
	}()
	for _, p := range r.processes {
		supervised.Go(func() error { return p.supervise(supervision) })
	}
	if err := r.breakAndMend(ctx); err != nil {
		return nil, err
	}
	return r.report(ctx)
}

// breakAndMend is the run itself, from the first fault to the last judgement.
func (r *run) breakAndMend(ctx context.Context) error {
	kinds := map[string][]kind{"rbd": rbdFaults, "mosaic-s3": s3Faults}[r.Pool]
	if r.disk != "" {
		kinds = directoryFaults
	}
	roles, services := plan(r.Seed, r.Duration, r.Lease, len(r.processes), slices.Concat(databaseFaults, kinds))
	r.Say("seed %d: %d faults of processes and %d of services are to come in %s", r.Seed, len(roles), len(services), r.Duration)
	watching, unwatch := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { r.recovery.watch(watching) })
	defer watch.Wait()
	defer unwatch()

	for _, c := range r.readers { // a writer that is not up yet is no fault
		if _, err := c.CheckConfig(ctx, true); err != nil {
			return err
		}
	}
	r.began = time.Now()
	loaded, unload := context.WithCancel(ctx)
	defer unload()
	enough, load := make(chan struct{}), make(chan error, 1)
	go func() { load <- r.load.run(loaded, enough) }()
	g, faulty := errgroup.WithContext(ctx)
	g.Go(func() error { return r.strikeRoles(faulty, roles) })
	g.Go(func() error { return r.strikeServices(faulty, services) })
	g.Go(func() error {
		r.wait(faulty, r.Duration)
		return nil
	})
	err := g.Wait()
	close(enough)
	if err != nil {
		unload()
		return errors.Join(err, <-load)
	}
	r.Say("no more faults, no more load: all should settle now without an operator")
	mended := time.Now()
	// What clients still try must succeed soon.
	defer time.AfterFunc(settling, unload).Stop()
	if err := <-load; err != nil {
		return fmt.Errorf("clients did not get their last answers: %w", err)
	}
	if err := r.settle(ctx); err != nil {
		return err
	}
	r.Say("settled %.1f s after; reading back %d objects, going through every image", time.Since(mended).Seconds(), len(r.journal.ids()))
	return r.judge(ctx)
}

// wait waits until a moment of the run, and returns false if ctx ends before.
func (r *run) wait(ctx context.Context, at time.Duration) bool {
	r.pause(ctx, time.Until(r.began.Add(at)))
	return ctx.Err() == nil
}

func (r *run) pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// struck counts a fault, of a role or of a service.
func (r *run) struck(k kind, role string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.counts[k] == nil {
		r.counts[k] = map[string]int{}
	}
	r.counts[k][role]++
	r.Say("%s %s", k, role)
}

func (r *run) find(what verdict, details string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.findings = append(r.findings, finding{what, details})
}
