// SPDX-License-Identifier: GPL-3.0-or-later

package chaos

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"winery/test/harness"
	"winery/test/harness/relay"
)

// aiming is how long a fault waits until its process holds a shard.
const aiming = 8 * time.Second

// strikeRoles lets the planned faults of processes happen.
func (r *run) strikeRoles(ctx context.Context, faults []fault) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, f := range faults {
		if !r.wait(ctx, f.at) {
			break
		}
		g.Go(func() error { return r.strike(ctx, f, r.processes[f.process]) })
	}
	return g.Wait()
}

// strike lets one fault happen to a process, and end.
func (r *run) strike(ctx context.Context, f fault, p *process) (err error) {
	running, err := p.alive(ctx)
	if err != nil {
		return err
	}
	if f.aimed {
		if err := r.aim(ctx, running, f.into); err != nil {
			return err
		}
	}
	at, undo := time.Now(), func() error { return nil }
	switch f.kind {
	case kill:
		err = p.kill()
		if p.role == harness.Writer {
			r.recovery.died(f.process, at)
		}
	case suspend:
		err = running.Signal(syscall.SIGSTOP)
		undo = func() error { return running.Signal(syscall.SIGCONT) }
	case cutOff:
		p.relay.Cut()
		undo = func() error { p.relay.Join(); return nil }
	case holdUp:
		p.relay.Hold()
		undo = func() error { p.relay.Resume(); return nil }
	default:
		return fmt.Errorf("%s is not a fault of a process", f.kind)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", p.name, f.kind, err)
	}
	r.struck(f.kind, p.role)
	r.recovery.struck(ctx, running.PID(), f.kind, at)
	if f.kind != suspend {
		err = running.Signal(syscall.SIGCONT)
	}
	r.pause(ctx, f.length)
	return errors.Join(err, undo())
}

// aim waits a while until the process holds a shard, and stops it in the middle
// of what it does with it.
func (r *run) aim(ctx context.Context, p *harness.Process, into time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, aiming)
	defer cancel()
	for ctx.Err() == nil {
		if !r.recovery.holds(ctx, p.PID()) {
			r.pause(ctx, 3*time.Millisecond)
			continue
		}
		r.pause(ctx, into)
		if err := p.Signal(syscall.SIGSTOP); err != nil || r.recovery.holds(ctx, p.PID()) {
			return err
		}
		if err := p.Signal(syscall.SIGCONT); err != nil { // it was quicker
			return err
		}
	}
	return nil
}

// strikeServices lets the planned faults of services happen, one at a time.
func (r *run) strikeServices(ctx context.Context, faults []fault) error {
	for _, f := range faults {
		if !r.wait(ctx, f.at) {
			return nil
		}
		undo, err := r.begin(ctx, f.kind)
		if err == nil {
			r.struck(f.kind, "")
			r.pause(ctx, f.length)
		}
		if undo != nil {
			err = errors.Join(err, undo())
		}
		if err != nil {
			return fmt.Errorf("%s: %w", f.kind, err)
		}
	}
	return nil
}

// begin lets a service's fault begin. undo ends it.
func (r *run) begin(ctx context.Context, k kind) (undo func() error, err error) {
	s := r.services
	done := context.WithoutCancel(ctx) // what was broken is mended in any case
	switch k {
	case pgRestart:
		return nil, s.RestartPostgres(done)
	case pgKill:
		pid, err := postmaster(s.Postgres)
		if err != nil {
			return nil, err
		}
		return func() error { return s.RestartPostgres(done) }, syscall.Kill(pid, syscall.SIGKILL)
	case pgBackend:
		return nil, killBackend(s.Postgres)
	case pgSuspend:
		return suspendPostgres(s.Postgres)
	case netCut, netReset:
		r.eachRelay((*relay.Relay).Cut)
		return func() error { r.eachRelay((*relay.Relay).Join); return nil }, nil
	case netStall:
		r.eachRelay((*relay.Relay).Hold)
		return func() error { r.eachRelay((*relay.Relay).Resume); return nil }, nil
	case osdKill:
		return func() error { return startCeph(done, s.Ceph, "osd.0") }, killCeph(ctx, s.Ceph, "osd.0")
	case osdSuspend:
		return suspendCeph(s.Ceph, "osd.0")
	case monKill:
		return func() error { return startCeph(done, s.Ceph, "mon.a") }, killCeph(ctx, s.Ceph, "mon.a")
	case poolQuota:
		return func() error { return setQuota(done, s.Ceph, dataPool, 0) }, setQuota(ctx, s.Ceph, dataPool, 1)
	case s3Kill:
		r.s3.Crash()
		return r.s3.Restart, nil
	case s3Suspend:
		return r.s3.Suspend()
	case s3Cut, s3Reset:
		r.s3Relay.Cut()
		return func() error { r.s3Relay.Join(); return nil }, nil
	case s3Stall:
		r.s3Relay.Hold()
		return func() error { r.s3Relay.Resume(); return nil }, nil
	case diskFull:
		return func() error { return freeDisk(r.disk) }, fillDisk(r.disk)
	default:
		return nil, fmt.Errorf("no such fault")
	}
}

// eachRelay does something to the network of every process. One that is cut
// off alone at this moment gets its network back with the others.
func (r *run) eachRelay(do func(*relay.Relay)) {
	for _, p := range r.processes {
		do(p.relay)
	}
}
