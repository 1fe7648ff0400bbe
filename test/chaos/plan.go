// SPDX-License-Identifier: GPL-3.0-or-later

package chaos

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// kind of a fault.
type kind string

// What happens to a process of a role.
const (
	kill    kind = "killed"
	suspend kind = "stopped for longer than a lease"
	cutOff  kind = "cut off from PostgreSQL for longer than a lease"
	holdUp  kind = "delayed on the way to PostgreSQL for longer than a lease"
)

// What happens to a service, or to the network between it and all roles.
const (
	pgRestart  kind = "PostgreSQL: restart -m immediate"
	pgKill     kind = "PostgreSQL: postmaster killed"
	pgBackend  kind = "PostgreSQL: a backend killed"
	pgSuspend  kind = "PostgreSQL: stopped for seconds"
	netCut     kind = "network to PostgreSQL: cut"
	netStall   kind = "network to PostgreSQL: stalled"
	netReset   kind = "network to PostgreSQL: connections reset"
	osdKill    kind = "Ceph: OSD killed"
	osdSuspend kind = "Ceph: OSD stopped for seconds"
	monKill    kind = "Ceph: monitor killed"
	poolQuota  kind = "Ceph: pool at its quota"
	diskFull   kind = "directory: disk full"
	s3Kill     kind = "S3: server killed"
	s3Suspend  kind = "S3: server stopped for seconds"
	s3Cut      kind = "network to S3: cut"
	s3Stall    kind = "network to S3: stalled"
	s3Reset    kind = "network to S3: connections reset"
)

var (
	roleFaults      = []kind{kill, kill, kill, kill, kill, suspend, suspend, suspend, cutOff, holdUp}
	databaseFaults  = []kind{pgRestart, pgKill, pgBackend, pgSuspend, netCut, netStall, netReset}
	rbdFaults       = []kind{osdKill, osdSuspend, monKill, poolQuota}
	directoryFaults = []kind{diskFull}
	s3Faults        = []kind{s3Kill, s3Suspend, s3Cut, s3Stall, s3Reset}
)

// fault is one that is planned.
type fault struct {
	at, length time.Duration
	kind       kind
	process    int           // number of the process; -1: a service
	aimed      bool          // the process should hold a shard when it is hit,
	into       time.Duration // for this long already
}

func (f fault) String() string {
	return fmt.Sprintf("%6.1f s for %4.1f s: %s", f.at.Seconds(), f.length.Seconds(), f.kind)
}

// deepest is how far into a process's work on a shard faults reach: about what
// it takes to pack one.
const deepest = 250 * time.Millisecond

// How often, on average. A service is left alone for a while after each fault,
// in which all that was interrupted can be seen to recover.
const (
	roleEvery    = 6 * time.Second
	serviceEvery = 24 * time.Second
	// maxConcurrent is how many processes may be stopped or cut off at a time: the
	// others continue.
	maxConcurrent = 3
)

// plan draws the faults of a run: the same for the same arguments. A process
// has one fault at a time, and so have all services together. All have ended
// at the run's end.
func plan(seed uint64, duration, lease time.Duration, processes int, serviceKinds []kind) (roles, services []fault) {
	rng := rand.New(rand.NewPCG(seed, 1))
	between := func(low, high time.Duration) time.Duration { return low + rand64(rng, high-low) }
	free := make([]time.Duration, processes) // when the process has got over its last fault
	for at := between(0, roleEvery); at < duration; at += between(roleEvery/3, roleEvery*5/3) {
		f := fault{at: at, kind: kill, process: rng.IntN(processes), aimed: rng.IntN(3) > 0, into: between(0, deepest)}
		busy := 0
		for _, until := range free {
			if until > at {
				busy++
			}
		}
		if k := roleFaults[rng.IntN(len(roleFaults))]; k != kill && busy < maxConcurrent {
			f.kind, f.length = k, between(lease*11/10, lease*3/2)
		}
		for tries := 0; free[f.process] > at && tries < processes; tries++ {
			f.process = (f.process + 1) % processes
		}
		if free[f.process] > at || at+f.length >= duration {
			continue
		}
		free[f.process] = at + aiming + f.length + 3*time.Second
		roles = append(roles, f)
	}
	var kinds []kind
	for at := between(serviceEvery/4, serviceEvery/2); ; at += between(serviceEvery/2, serviceEvery) {
		if len(kinds) == 0 { // each once, in an order of its own, before any comes again
			for _, i := range rng.Perm(len(serviceKinds)) {
				kinds = append(kinds, serviceKinds[i])
			}
		}
		f := fault{at: at, kind: kinds[0], process: -1, length: between(2*time.Second, 12*time.Second)}
		kinds = kinds[1:]
		switch f.kind {
		case pgRestart, pgBackend, netReset, s3Reset:
			f.length = 0
		case poolQuota, diskFull: // felt by the next shard only, and Ceph notices after seconds
			f.length += 10 * time.Second
		default:
		}
		at += f.length
		if at >= duration {
			return roles, services
		}
		services = append(services, f)
	}
}

func rand64(rng *rand.Rand, below time.Duration) time.Duration {
	return time.Duration(rng.Int64N(int64(below)))
}
