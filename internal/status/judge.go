// SPDX-License-Identifier: GPL-3.0-or-later

package status

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"winery/internal/config"
	"winery/sharedbase"
)

// How long something may take before it is a problem.
const (
	fullWait    = 5 * time.Minute // a FULL shard without a packer
	fullLong    = time.Hour       // a FULL shard in a pool of which none is being packed
	packedWait  = time.Hour       // a PACKED shard without a mapper or a cleaner
	packedLong  = 24 * time.Hour  // a PACKED shard
	erasureLong = 24 * time.Hour  // an object to be erased
	expiredWait = time.Minute     // an expired lease: a writer, packer or cleaner reclaims the shard within a quarter of a lease
	lockedLong  = 48 * time.Hour  // a lock without a lease
)

const initCure = "wineryctl db init, as a user that may create tables"

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
	{[]part{processes}, hostNamesShared},
	{[]part{shards}, poolsNotConfigured},
	{nil, poolsUnusable},
	{[]part{unerased}, erasuresOverdue},
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

// Setup finds what does not agree in the setup of a fleet: versions, leases and host
// names of processes, and pools of shards that are not among the configured ones.
func Setup(processes []sharedbase.Process, shards []sharedbase.ShardStatistics, configured []config.Pool) []Problem {
	f := &facts{source: &Source{Pools: configured}, processes: processes, shards: shards}
	return slices.Concat(versionsDiffer(f), leasesDiffer(f), hostNamesShared(f), poolsNotConfigured(f))
}

// unreadable is about the database as a whole, or the parts that could not be read.
func (f *facts) unreadable() (problems []Problem) {
	if errors.Is(f.databaseErr, sharedbase.ErrNotAttached) {
		return []Problem{problem(TablesMissing, Error, "the tables winery_* are missing or older than this program: nothing else can be judged", nil, initCure)}
	}
	if f.databaseErr != nil {
		return []Problem{problem(DatabaseUnreadable, Cannot, "the database could not be read: "+oneLine(f.databaseErr), nil, DatabaseCure(f.databaseErr))}
	}
	for _, p := range slices.Sorted(maps.Keys(f.unread)) {
		problems = append(problems, problem(DatabaseUnreadable, Cannot, fmt.Sprintf("%s could not be read: %s", p, oneLine(f.unread[p])), nil, DatabaseCure(f.unread[p])))
	}
	return problems
}

// DatabaseCure returns what to do about an error of the database.
func DatabaseCure(err error) string {
	if errors.Is(err, sharedbase.ErrNotAllowed) {
		return "wineryctl db grants | psql DATABASE, as a superuser; the check rights of wineryctl doctor names what is missing"
	}
	if errors.Is(err, sharedbase.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) {
		return "start PostgreSQL, or correct objstorage.database.db; see Outages in /usr/share/doc/winery/operations.md"
	}
	if errors.Is(err, sharedbase.ErrNotInitialised) || errors.Is(err, sharedbase.ErrNotAttached) {
		return initCure
	}
	if errors.As(err, new(*sharedbase.VersionError)) || errors.As(err, new(*sharedbase.ModuleError)) {
		return "do what the message says"
	}
	return "see the log of PostgreSQL, and Outages in /usr/share/doc/winery/operations.md"
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
