// SPDX-License-Identifier: GPL-3.0-or-later

package status

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/singleflight"

	"winery/internal/config"
	"winery/internal/storage"
	"winery/sharedbase"
)

// How long the parts of a report may take.
const (
	databaseLimit = 10 * time.Second // for the first answer of the database
	partLimit     = 5 * time.Second
	poolLimit     = 5 * time.Second
)

// Source is what reports are read from.
type Source struct {
	Base  *sharedbase.SharedBase
	Pools []config.Pool
	Set   storage.Set
	// Public leaves out of a report what clients of the writer must not see: where the
	// database is, and as which user a role connects to it.
	Public bool

	asked singleflight.Group // each pool once at a time, so that a store that hangs holds one thread
}

// part is a part of the database that is read by one statement.
type part string

const (
	shards      part = "the numbers of shards"
	quarantined part = "the quarantined shards"
	locked      part = "the locked shards"
	packed      part = "the packed shards"
	unerased    part = "the objects to be erased"
	processes   part = "the processes"
	hosts       part = "the hosts"
)

// facts are what was read.
type facts struct {
	source *Source

	database    string // its name
	databaseErr error  // why nothing could be read
	unread      map[part]error
	pools       []Pool // in the order of the configuration

	shards      []sharedbase.ShardStatistics
	quarantined []sharedbase.Quarantined
	locked      []sharedbase.LockedShard
	packed      sharedbase.Overdue // for packedWait
	unerased    []sharedbase.Unerased
	processes   []sharedbase.Process
	hosts       []sharedbase.Host
}

// Read reads and judges the state of the fleet. It returns within a minute, also if
// nothing answers.
func Read(ctx context.Context, source *Source) Report {
	f := &facts{source: source, unread: map[part]error{}}
	if f.databaseErr = f.readIdentity(ctx); f.databaseErr == nil {
		f.readParts(ctx)
	}
	f.readPools(ctx)
	if source.Public {
		f.hideErrors()
	}
	return f.report()
}

func (f *facts) readIdentity(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, databaseLimit)
	defer cancel()
	if err := f.source.Base.CheckAttached(ctx); err != nil {
		return err
	}
	id, err := f.source.Base.ID(ctx)
	f.database = id.Name
	return err
}

func (f *facts) readParts(ctx context.Context) {
	base := f.source.Base
	for _, r := range []struct {
		part
		read func(context.Context) error
	}{
		{shards, func(ctx context.Context) (err error) { f.shards, err = base.Statistics(ctx); return err }},
		{quarantined, func(ctx context.Context) (err error) { f.quarantined, err = base.QuarantinedShards(ctx); return err }},
		{locked, func(ctx context.Context) (err error) { f.locked, err = base.LockedShards(ctx); return err }},
		{packed, func(ctx context.Context) (err error) { f.packed, err = base.PackedFor(ctx, packedWait); return err }},
		{unerased, func(ctx context.Context) (err error) { f.unerased, err = base.Unerased(ctx); return err }},
		{processes, func(ctx context.Context) (err error) { f.processes, err = base.Processes(ctx); return err }},
		{hosts, func(ctx context.Context) (err error) { f.hosts, err = base.Hosts(ctx); return err }},
	} {
		limited, cancel := context.WithTimeout(ctx, partLimit)
		if err := r.read(limited); err != nil {
			f.unread[r.part] = err
		}
		cancel()
	}
}

// readPools asks all pools at once.
func (f *facts) readPools(ctx context.Context) {
	f.pools = make([]Pool, len(f.source.Pools))
	var asking sync.WaitGroup
	for i, c := range f.source.Pools {
		asking.Go(func() { f.pools[i] = f.readPool(ctx, c) })
	}
	asking.Wait()
}

func (f *facts) readPool(ctx context.Context, c config.Pool) Pool {
	p := Pool{Name: c.Name, Type: c.Type}
	if f.databaseErr != nil && !errors.Is(f.databaseErr, sharedbase.ErrNotAttached) {
		p.State, p.Error = storage.NotCompared, "the database did not answer, and the pool cannot be compared with it"
		return p
	}
	identity, err := f.identify(ctx, c.Name)
	if f.source.Public {
		err = hide(err)
	}
	p.State = identity.State
	if err := errors.Join(err, identity.Why); err != nil {
		p.Error = oneLine(err)
	}
	if id := identity.Marker.UUID; id != uuid.Nil {
		p.UUID = &id
	}
	return p
}

// identify stops waiting after poolLimit, even if a call into the store hangs.
func (f *facts) identify(ctx context.Context, name string) (storage.Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, poolLimit)
	defer cancel()
	answer := f.source.asked.DoChan(name, func() (any, error) { return storage.Identify(ctx, f.source.Base, f.source.Set[name]) })
	unavailable := storage.Identity{State: storage.Unavailable}
	select {
	case a := <-answer:
		if a.Err != nil {
			return unavailable, a.Err
		}
		return a.Val.(storage.Identity), nil
	case <-ctx.Done():
		return unavailable, fmt.Errorf("pool %q: the store does not answer: %w", name, ctx.Err())
	}
}

// report converts the facts, and judges them.
func (f *facts) report() Report {
	r := Report{
		At: time.Now().UTC().Truncate(time.Second), Database: Database{Name: f.database}, Pools: f.pools,
		Shards: []ShardCount{}, Quarantined: []QuarantinedShard{}, Processes: []Process{}, Hosts: []Host{},
	}
	errs := []error{f.databaseErr}
	for _, p := range slices.Sorted(maps.Keys(f.unread)) {
		errs = append(errs, fmt.Errorf("%s: %w", p, f.unread[p]))
	}
	if err := errors.Join(errs...); err != nil {
		r.Database.Error = oneLine(err)
	}
	for _, s := range f.shards {
		r.Shards = append(r.Shards, ShardCount{s.Pool, s.State, s.Shards, int64(s.Oldest.Seconds()), s.Quarantined})
		r.FullQueueBytes += s.TableBytes
	}
	for _, q := range f.quarantined {
		r.Quarantined = append(r.Quarantined, QuarantinedShard{q.Shard.Name, q.Shard.Pool, q.At, q.Reason})
	}
	for _, p := range f.processes {
		r.Processes = append(r.Processes, Process{p.Role, p.Host, p.PID, p.Version, int64(p.Lease.Seconds()), p.Started, p.LastSeen,
			int64(p.Unseen.Seconds()), p.Running(), p.Failing, p.Status})
	}
	for _, h := range f.hosts {
		r.Hosts = append(r.Hosts, Host{h.Name, h.Running(), h.Mapped})
	}
	r.Problems, r.Verdict = f.judge()
	return r
}
