// SPDX-License-Identifier: GPL-3.0-or-later

package doctor

import (
	"context"
	"slices"
	"sync"
	"time"

	"winery/internal/config"
	"winery/internal/status"
	"winery/internal/storage"
	"winery/sharedbase"
)

// Roles are all roles.
var Roles = []string{"writer", "packer", "mapper", "cleaner"}

// Subject is what is checked. All must be set.
type Subject struct {
	Config   *config.Config
	Base     *sharedbase.SharedBase
	Pools    storage.Set
	Roles    []string      // that are to work here
	Patience time.Duration // with each service
}

// State is what a check found.
type State string

// The states.
const (
	OK      State = "ok"
	Warning State = "warning"
	Failed  State = "failed"
	Unknown State = "unknown" // the check could not be made
)

// Result is what a check found. Scripts read its JSON: docs/json.md.
type Result struct {
	Check string `json:"check"`
	Pool  string `json:"pool"` // "" of a check that is about no pool
	State State  `json:"state"`
	What  string `json:"what"`
	Cure  string `json:"cure"` // "" if the state is ok
}

// Report has all results, always in the same order.
type Report struct {
	At      time.Time      `json:"at"`
	Verdict status.Verdict `json:"verdict"`
	Checks  []Result       `json:"checks"`
}

// check is one of those that Run makes.
type check struct {
	name, pool string
	find       func(context.Context) Result
}

// doctor makes the checks of a subject.
type doctor struct {
	Subject
	server    func() (sharedbase.Server, error)    // asked once
	processes func() ([]sharedbase.Process, error) // asked once
}

// Run makes all checks.
func Run(ctx context.Context, s Subject) Report {
	d := &doctor{Subject: s}
	d.server = sync.OnceValues(func() (sharedbase.Server, error) { return ask(ctx, s.Patience, s.Base.Server) })
	d.processes = sync.OnceValues(func() ([]sharedbase.Process, error) { return ask(ctx, s.Patience, s.Base.Processes) })
	checks := d.checks()
	r := Report{At: time.Now().UTC().Truncate(time.Second), Verdict: status.Well, Checks: make([]Result, len(checks))}
	var running sync.WaitGroup
	for i, c := range checks {
		running.Go(func() {
			r.Checks[i] = c.find(ctx)
			r.Checks[i].Check, r.Checks[i].Pool = c.name, c.pool
		})
	}
	running.Wait()
	if slices.ContainsFunc(r.Checks, func(r Result) bool { return r.State != OK }) {
		r.Verdict = status.Problems
	}
	if slices.ContainsFunc(r.Checks, func(r Result) bool { return r.State == Unknown }) {
		r.Verdict = status.Unknown
	}
	return r
}

func (d *doctor) checks() []check {
	checks := []check{
		{"open_files", "", d.openFiles},
		{"rbd_driver", "", d.rbdDriver},
		{"clients", "", d.clients},
		{"database", "", d.database},
		{"encryption", "", d.answered(d.encryption)},
		{"clock", "", d.answered(d.clock)},
		{"schema", "", d.answered(d.schema)},
		{"rights", "", d.answered(d.rights)},
		{"settings", "", d.answered(d.settings)},
		{"compression", "", d.answered(d.compression)},
		{"connections", "", d.answered(d.connections)},
		{"versions", "", d.agreement(status.VersionsDiffer, "%d running processes have the same version")},
		{"leases", "", d.agreement(status.LeasesDiffer, "%d running processes have the same winery.lease")},
		{"host_names", "", d.agreement(status.HostNameShared, "%d running processes; no host name is shared by several machines")},
		{"configured_pools", "", d.answered(d.configuredPools)},
	}
	for _, c := range d.Config.Pools {
		p := poolCheck{d, c, d.Pools[c.Name]}
		checks = append(checks, check{"marker", c.Name, p.marker}, check{"access", c.Name, p.access}, check{"space", c.Name, p.space})
	}
	return checks
}

// works reports whether one of these roles is to work here.
func (d *doctor) works(roles ...string) bool {
	return slices.ContainsFunc(roles, func(role string) bool { return slices.Contains(d.Roles, role) })
}
