// SPDX-License-Identifier: GPL-3.0-or-later

package status

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dustin/go-humanize/english"

	"winery/sharedbase"
)

// works reports whether a process of a role runs, or Python Winery has a shard locked
// in the state that the role locks.
func (f *facts) works(role string, state sharedbase.ShardState) bool {
	return slices.ContainsFunc(f.processes, func(p sharedbase.Process) bool { return p.Role == role && p.Running() }) ||
		slices.ContainsFunc(f.locked, func(s sharedbase.LockedShard) bool { return s.State == state && s.Lease == nil && s.For < lockedLong })
}

func noWriter(f *facts) []Problem {
	what := "no writer runs: objects can be neither stored nor read"
	switch {
	case f.works("writer", sharedbase.StateWriting):
		return nil
	case f.works("reader", ""):
		what = "no writer runs, only read-only ones: objects can be read, but not stored"
	}
	return []Problem{problem(NoWriter, Error, what, nil, "systemctl start winery-writer on a host")}
}

func processesGone(f *facts) []Problem {
	var on, hosts []string
	for _, p := range f.processes {
		if !p.Running() {
			hosts = append(hosts, p.Host)
			on = append(on, fmt.Sprintf("%s, last seen %s ago: %s", p, Age(p.Unseen), p.Status))
		}
	}
	return several(ProcessGone, Warning, english.Plural(len(on), "process has", "processes have")+" died, failed or lost the database", on,
		"systemctl status 'winery-*' on "+only(hosts, "each of these hosts"))
}

func processesFailing(f *facts) []Problem {
	var on []string
	for _, p := range f.processes {
		if p.Running() && p.Failing {
			on = append(on, fmt.Sprintf("%s: %s", p, p.Status))
		}
	}
	return several(ProcessFailing, Error, english.Plural(len(on), "process runs", "processes run")+" without success: the last attempt to work failed, or the current step makes no progress", on,
		"remove the cause that the status names; the process retries by itself")
}

func versionsDiffer(f *facts) []Problem {
	return differ(f, VersionsDiffer, "processes have different versions", func(p sharedbase.Process) string { return "version " + p.Version },
		"complete the upgrade on all hosts; see /usr/share/doc/winery/versions.md")
}

func leasesDiffer(f *facts) []Problem {
	return differ(f, LeasesDiffer, "processes have different settings of winery.lease", func(p sharedbase.Process) string { return "lease " + p.Lease.String() },
		"set winery.lease to one value in the configuration of all hosts, and restart the roles")
}

// differ finds running processes that differ in a value.
func differ(f *facts, code Code, what string, value func(sharedbase.Process) string, cure string) []Problem {
	have := map[string][]string{}
	for _, p := range f.processes {
		if p.Running() {
			have[value(p)] = append(have[value(p)], p.Role+" on "+p.Host)
		}
	}
	if len(have) < 2 {
		return nil
	}
	var on []string
	for _, v := range slices.Sorted(maps.Keys(have)) {
		on = append(on, v+": "+strings.Join(have[v], ", "))
	}
	return several(code, Warning, what, on, cure)
}

// hostNamesShared compares the boots of the machines on which processes run at the same time.
func hostNamesShared(f *facts) []Problem {
	var on, hosts []string
	for i, p := range f.processes {
		for _, q := range f.processes[i+1:] {
			if p.Host == q.Host && p.Boot != q.Boot && p.Boot != "" && q.Boot != "" && p.Running() && q.Running() &&
				p.Started.Before(q.LastSeen) && q.Started.Before(p.LastSeen) && !slices.Contains(hosts, p.Host) {
				on, hosts = append(on, fmt.Sprintf("%s, and another machine with %s", p, q)), append(hosts, p.Host)
			}
		}
	}
	return several(HostNameShared, Warning, english.Plural(len(on), "host name is that of several machines", "host names are those of several machines each")+
		": they count as one host for --min-mapped-hosts", on, "give each machine a host name of its own (hostnamectl hostname NAME), and restart its roles")
}

// hostsGone is left out in a fleet whose mappers are Python's: they send no heartbeats.
func hostsGone(f *facts) []Problem {
	if !f.works("mapper", "") {
		return nil
	}
	var on, names []string
	for _, h := range f.hosts {
		if h.Mapped > 0 && h.LastSeen.IsZero() && h.Leases == 0 {
			on, names = append(on, fmt.Sprintf("%s, which mapped %s", h.Name, english.Plural(int(h.Mapped), "image", "images"))), append(names, h.Name)
		}
	}
	return several(HostGone, Warning, english.Plural(len(on), "host counts", "hosts count")+" for --min-mapped-hosts, but no role runs there: the roles were stopped, or were not seen for a day", on,
		"start the roles there; if the host is gone for good: wineryctl hosts forget "+only(names, "HOST"))
}
