// SPDX-License-Identifier: GPL-3.0-or-later

package status

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize/english"

	"winery/sharedbase"
)

// Code names a kind of problem.
type Code string

// The codes. docs/operations.md has a row for each.
const (
	DatabaseUnreadable Code = "U001"
	Quarantined        Code = "W001"
	LeaseExpired       Code = "W002"
	LockedWithoutLease Code = "W003"
	FullWithoutPacker  Code = "W004"
	PackedUnmapped     Code = "W005"
	PackedUncleaned    Code = "W006"
	HostGone           Code = "W007"
	NoWriter           Code = "W008"
	ProcessGone        Code = "W009"
	ProcessFailing     Code = "W010"
	VersionsDiffer     Code = "W011"
	LeasesDiffer       Code = "W012"
	PoolNotConfigured  Code = "W013"
	PoolUnusable       Code = "W014"
	TablesMissing      Code = "W015"
	ErasureOverdue     Code = "W016"
	PackedLong         Code = "W017"
)

// How long something may take before it is a problem.
const (
	fullWait    = 5 * time.Minute // a FULL shard without a packer
	packedWait  = time.Hour       // a PACKED shard without a mapper or a cleaner
	packedLong  = 24 * time.Hour  // a PACKED shard
	notedLong   = 24 * time.Hour  // an object to be erased
	expiredWait = time.Minute     // an expired lease: every role reclaims it within a quarter of a lease
	lockedLong  = 48 * time.Hour  // a lock without a lease
)

// maxOn is how many of the things that a problem concerns are named.
const maxOn = 10

// rules find the problems. A rule is left out if a part that it needs was not read.
var rules = []struct {
	needs []part
	find  func(*facts) []Problem
}{
	{[]part{quarantined}, quarantinedShards},
	{[]part{locked}, expiredLeases},
	{[]part{locked}, pythonLocks},
	{[]part{shards, processes, locked}, fullWithoutPacker},
	{[]part{packed, processes, locked}, packedWaits},
	{[]part{hosts, processes}, hostsGone},
	{[]part{processes, locked}, noWriter},
	{[]part{processes}, processesGone},
	{[]part{processes}, processesFailing},
	{[]part{processes}, versionsDiffer},
	{[]part{processes}, leasesDiffer},
	{[]part{shards}, poolsNotConfigured},
	{nil, poolsUnusable},
	{[]part{notes}, erasuresOverdue},
}

func (f *facts) judge() ([]Problem, Verdict) {
	problems := f.unreadable()
	for _, rule := range rules {
		if f.databaseErr == nil && !slices.ContainsFunc(rule.needs, func(p part) bool { return f.unread[p] != nil }) {
			problems = append(problems, rule.find(f)...)
		}
	}
	order := []Severity{Cannot, Error, Warning}
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(slices.Index(order, a.Severity), slices.Index(order, b.Severity)), cmp.Compare(a.Code, b.Code))
	})
	switch {
	case len(problems) == 0:
		return []Problem{}, Well
	case problems[0].Severity == Cannot:
		return problems, Unknown
	}
	return problems, Problems
}

// unreadable is about the database as a whole, or the parts that could not be read.
func (f *facts) unreadable() (problems []Problem) {
	if errors.Is(f.databaseErr, sharedbase.ErrNotAttached) {
		return []Problem{problem(TablesMissing, Error, "the tables winery_* are missing or older than this program: nothing else can be judged", nil,
			"wineryctl db init, as a user that may create tables")}
	}
	const cure = "start PostgreSQL, or correct objstorage.database.db; see Outages in docs/operations.md"
	if f.databaseErr != nil {
		return []Problem{problem(DatabaseUnreadable, Cannot, "the database could not be read: "+oneLine(f.databaseErr), nil, cure)}
	}
	for _, p := range slices.Sorted(maps.Keys(f.unread)) {
		problems = append(problems, problem(DatabaseUnreadable, Cannot, fmt.Sprintf("%s could not be read: %s", p, oneLine(f.unread[p])), nil, cure))
	}
	return problems
}

func problem(code Code, severity Severity, what string, on []string, cure string) Problem {
	return Problem{Code: code, Severity: severity, What: what, Cure: cure, Count: int64(len(on)), On: append([]string{}, on[:min(len(on), maxOn)]...)}
}

// oneLine joins the lines of an error: pgx reports each address that it tried in one.
func oneLine(err error) string {
	lines := strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\t' })
	return strings.Join(lines, " ")
}

// only returns the one name, or a placeholder where there are several.
func only(names []string, placeholder string) string {
	if len(names) == 1 {
		return names[0]
	}
	return placeholder
}

// several returns no problem where on is empty.
func several(code Code, severity Severity, what string, on []string, cure string) []Problem {
	if len(on) == 0 {
		return nil
	}
	return []Problem{problem(code, severity, what, on, cure)}
}

func quarantinedShards(f *facts) []Problem {
	var on, names []string
	for _, q := range f.quarantined {
		on, names = append(on, fmt.Sprintf("%s: %s", q.Shard.Name, q.Reason)), append(names, q.Shard.Name)
	}
	return several(Quarantined, Error, english.Plural(len(on), "shard is", "shards are")+" quarantined: index, table and image are not consistent", on,
		fmt.Sprintf("wineryctl verify --shard %[1]s; then wineryctl verify --repair --shard %[1]s", only(names, "NAME")))
}

func expiredLeases(f *facts) []Problem {
	var on, holders []string
	for _, s := range f.locked {
		if s.Expired() > expiredWait {
			holders = append(holders, s.Lease.Host+":"+s.Lease.Role)
			on = append(on, fmt.Sprintf("%s (%s), locked by %s, whose lease expired %s ago", s.Name, s.State, s.Lease.Holder(), Age(s.Expired())))
		}
	}
	return several(LeaseExpired, Error, english.Plural(len(on), "shard is", "shards are")+" locked by dead processes, and no role reclaims what they held", on,
		"start a role, which reclaims the shards; or wineryctl shards release --holder "+only(holders, "HOST:ROLE"))
}

func pythonLocks(f *facts) []Problem {
	var on, names []string
	for _, s := range f.locked {
		if s.Lease == nil && s.For > lockedLong {
			names = append(names, s.Name)
			on = append(on, fmt.Sprintf("%s (%s), locked %s ago", s.Name, s.State, Age(s.For)))
		}
	}
	return several(LockedWithoutLease, Warning, english.Plural(len(on), "shard has", "shards have")+" been locked for long by processes without a lease, as those of Python Winery", on,
		"make sure that the process is dead; then wineryctl shards release --shard "+only(names, "NAME"))
}

// works reports whether a process of a role runs, or Python Winery has a shard locked
// in the state that the role locks.
func (f *facts) works(role string, state sharedbase.ShardState) bool {
	return slices.ContainsFunc(f.processes, func(p sharedbase.Process) bool { return p.Role == role && p.Running() }) ||
		slices.ContainsFunc(f.locked, func(s sharedbase.LockedShard) bool { return s.State == state && s.Lease == nil && s.For < lockedLong })
}

func fullWithoutPacker(f *facts) []Problem {
	if f.works("packer", sharedbase.StatePacking) {
		return nil
	}
	waiting, oldest := int64(0), time.Duration(0)
	var on, pools []string
	for _, s := range f.shards {
		if s.State == sharedbase.StateFull && s.Shards > s.Quarantined && s.Oldest > fullWait {
			waiting, oldest = waiting+s.Shards, max(oldest, s.Oldest)
			on, pools = append(on, "pool "+s.Pool), append(pools, s.Pool)
		}
	}
	return several(FullWithoutPacker, Error, fmt.Sprintf("no packer runs, and %s for one, the oldest for %s",
		english.Plural(int(waiting), "FULL shard waits", "FULL shards wait"), Age(oldest)), on,
		"systemctl start winery-packer@"+only(pools, "POOL")+" on a host")
}

// packedWaits looks for the reason why tables are not dropped: the first that applies.
func packedWaits(f *facts) []Problem {
	o := f.packed
	waiting := func(n int64) string {
		return fmt.Sprintf("%s, the oldest for %s", english.Plural(int(n), "PACKED shard waits", "PACKED shards wait"), Age(o.Oldest))
	}
	switch {
	case o.Unmapped > 0 && !f.works("mapper", ""):
		return []Problem{problem(PackedUnmapped, Error, "no mapper runs, and "+waiting(o.Unmapped)+": no host has mapped the images", nil,
			"systemctl start winery-rbd-mapper on each host that reads images")}
	case o.Shards > 0 && !f.works("cleaner", sharedbase.StateCleaning):
		return []Problem{problem(PackedUncleaned, Warning, "no cleaner runs, and "+waiting(o.Shards)+": the tables use space", nil,
			"systemctl start winery-cleaner on a host")}
	case o.Oldest > packedLong:
		return []Problem{problem(PackedLong, Warning, waiting(o.Shards)+" although mapper and cleaner run: fewer hosts than --min-mapped-hosts may have mapped the images", nil,
			"compare wineryctl hosts list with --min-mapped-hosts of winery-cleaner; see the logs of winery-cleaner and winery-rbd-mapper")}
	}
	return nil
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
	return several(HostGone, Warning, english.Plural(len(on), "host counts", "hosts count")+" for --min-mapped-hosts, but no process there was seen for a day", on,
		"start the roles there; if the host is gone for good: wineryctl hosts forget "+only(names, "HOST"))
}

func noWriter(f *facts) []Problem {
	if f.works("writer", sharedbase.StateWriting) {
		return nil
	}
	return []Problem{problem(NoWriter, Error, "no writer runs: objects can be neither stored nor read", nil, "systemctl start winery-writer on a host")}
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
		"complete the upgrade on all hosts; see docs/versions.md")
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

func poolsNotConfigured(f *facts) []Problem {
	n := map[string]int64{}
	for _, s := range f.shards {
		if !slices.ContainsFunc(f.pools, func(p Pool) bool { return p.Name == s.Pool }) {
			n[s.Pool] += s.Shards
		}
	}
	var on []string
	for _, name := range slices.Sorted(maps.Keys(n)) {
		on = append(on, fmt.Sprintf("pool %s, with %s", name, english.Plural(int(n[name]), "shard", "shards")))
	}
	return several(PoolNotConfigured, Error, english.Plural(len(on), "pool that has shards is", "pools that have shards are")+" not configured on this host", on,
		"add the pool to shards_pools on each host")
}

func poolsUnusable(f *facts) []Problem {
	var on []string
	for _, p := range f.pools {
		if p.Error != "" {
			on = append(on, p.Error)
		}
	}
	return several(PoolUnusable, Error, english.Plural(len(on), "pool", "pools")+" cannot be used from this host", on,
		"wineryctl pool list; see The identity of a pool in docs/operations.md")
}

func erasuresOverdue(f *facts) []Problem {
	if f.notes.Notes == 0 {
		return nil
	}
	return []Problem{problem(ErasureOverdue, Warning, fmt.Sprintf("%s, added again to another shard since, %s in the images of %s, the oldest for %s",
		english.Plural(int(f.notes.Notes), "deleted object", "deleted objects"), map[bool]string{true: "is", false: "are"}[f.notes.Notes == 1],
		english.Plural(int(f.notes.Shards), "shard", "shards"), Age(f.notes.Oldest)), nil,
		"see the log of winery-cleaner; or wineryctl objects clean-deleted")}
}

// Age returns a duration in its largest unit: "12 s", "3 h", "5 days".
func Age(d time.Duration) string {
	for _, u := range []struct {
		name string
		time.Duration
	}{{"days", 24 * time.Hour}, {"h", time.Hour}, {"min", time.Minute}} {
		if d >= 2*u.Duration {
			return fmt.Sprintf("%d %s", d/u.Duration, u.name)
		}
	}
	return fmt.Sprintf("%d s", d/time.Second)
}
