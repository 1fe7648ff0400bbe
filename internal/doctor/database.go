// SPDX-License-Identifier: GPL-3.0-or-later

package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize/english"

	"winery/internal/status"
	"winery/sharedbase"
)

// maxClockDifference is how far the clocks of host and database may be apart.
const maxClockDifference = 5 * time.Second

// notAsked is the result of a check that needs the database, which does not answer.
func notAsked() Result {
	return Result{State: Unknown, What: "not checked: the database does not answer", Cure: "see the check of the database"}
}

func (d *doctor) database(context.Context) Result {
	s, err := d.server()
	if err != nil {
		return databaseFailure(err)
	}
	where, err := sharedbase.DescribeDSN(d.Config.Database.DSN)
	if err != nil {
		return failure(err, "correct objstorage.database.db")
	}
	if s.IsStandby {
		return Result{State: Failed, What: where + " is a standby: nothing can be stored",
			Cure: "name the primary in objstorage.database.db, or all servers and target_session_attrs=read-write"}
	}
	return ok("PostgreSQL %s, %s", s.Version, where)
}

// answered makes a check of one that needs the database.
func (d *doctor) answered(find func(context.Context, sharedbase.Server) Result) func(context.Context) Result {
	return func(ctx context.Context) Result {
		s, err := d.server()
		if err != nil {
			return notAsked()
		}
		return find(ctx, s)
	}
}

// databaseFailure is the result of a check for which the database has an error.
func databaseFailure(err error) Result { return failure(err, status.DatabaseCure(err)) }

func (d *doctor) encryption(_ context.Context, s sharedbase.Server) Result {
	const cure = "sslmode=verify-full and sslrootcert=FILE in objstorage.database.db"
	switch {
	case s.Local:
		return ok("the database is on this host")
	case !s.Encrypted:
		return Result{State: Warning, What: "objects and password go over the network without TLS", Cure: cure}
	case !s.Verified:
		return Result{State: Warning, What: "the connection has TLS, but the server's certificate is not checked: another server could pretend to be the database", Cure: cure}
	}
	return ok("TLS, and the server's certificate is checked")
}

func (d *doctor) clock(ctx context.Context, _ sharedbase.Server) Result {
	ahead, err := ask(ctx, d.Patience, d.Base.Ping)
	if err != nil {
		return databaseFailure(err)
	}
	if ahead.Abs() > maxClockDifference {
		side := map[bool]string{true: "ahead of", false: "behind"}[ahead > 0]
		return Result{State: Warning, What: fmt.Sprintf("the database's clock is %v %s this host's: times in logs and the end of certificates and tokens are wrong",
			ahead.Abs().Round(time.Millisecond), side), Cure: "have both hosts set their clocks by NTP: timedatectl set-ntp true"}
	}
	return ok("the clocks of host and database are less than %v apart", maxClockDifference)
}

func (d *doctor) schema(ctx context.Context, _ sharedbase.Server) Result {
	if err := askNothing(ctx, d.Patience, d.Base.CheckAttached); err != nil {
		return databaseFailure(err)
	}
	return ok("version %d, and the tables winery_* that this program needs", sharedbase.SchemaVersion)
}

func (d *doctor) rights(ctx context.Context, s sharedbase.Server) Result {
	var missing []string
	for _, role := range d.Roles {
		lacks, err := ask(ctx, d.Patience, func(ctx context.Context) ([]string, error) { return d.Base.MissingRights(ctx, role) })
		if err != nil {
			return databaseFailure(err)
		}
		for _, right := range lacks {
			missing = append(missing, role+" "+right)
		}
	}
	if len(missing) > 0 {
		also := " --also " + s.User
		if slices.ContainsFunc(sharedbase.Users, func(role string) bool { return strings.HasSuffix(s.User, "_"+role) }) {
			also = "" // a user of one role
		}
		return Result{State: Failed, What: "user " + s.User + " lacks rights: " + strings.Join(missing, "; "),
			Cure: "wineryctl db grants" + also + " | psql DATABASE, as a superuser, with the other flags of the last time; if each role has a user of its own, check it with --role ROLE"}
	}
	return ok("user %s has all rights that the roles need", s.User)
}

func (d *doctor) settings(ctx context.Context, _ sharedbase.Server) Result {
	unsafe, err := ask(ctx, d.Patience, d.Base.UnsafeSettings)
	if err != nil {
		return databaseFailure(err)
	}
	var all []string
	for _, s := range unsafe {
		all = append(all, fmt.Sprintf("%s is %s: %s", s.Name, s.Value, s.Consequence))
	}
	if len(all) > 0 {
		return Result{State: Warning, What: strings.Join(all, "; "), Cure: "ALTER SYSTEM, ALTER DATABASE or ALTER ROLE; then SELECT pg_reload_conf()"}
	}
	return ok("fsync, full_page_writes and synchronous_commit are on; transactions are read committed")
}

func (d *doctor) compression(ctx context.Context, _ sharedbase.Server) Result {
	method, err := ask(ctx, d.Patience, d.Base.Compression)
	switch {
	case err != nil:
		return databaseFailure(err)
	case method == "":
		return Result{State: Warning, What: "PostgreSQL cannot compress by lz4: adds take several times the CPU", Cure: "upgrade to PostgreSQL 14 or newer, built with lz4"}
	case method != "lz4":
		return Result{State: Warning, What: fmt.Sprintf("contents are compressed by %s: adds take several times the CPU that they take with lz4", method),
			Cure: "wineryctl db tune, as the owner of the database"}
	}
	return ok("contents in the tables of new shards are compressed by lz4")
}

// connections compares the limit of the server with what the processes that run, and
// one more, may need.
func (d *doctor) connections(_ context.Context, s sharedbase.Server) Result {
	const cure = "raise max_connections of PostgreSQL, lower winery.database_connections, or use PgBouncer"
	processes, err := d.processes()
	switch {
	case err != nil:
		return databaseFailure(err)
	case s.Pooled:
		return ok("through a connection pooler")
	case s.MaxConnections-s.Connections < sharedbase.MinConnections:
		return Result{State: Failed, What: fmt.Sprintf("%d of %d connections are in use, and a process needs %d", s.Connections, s.MaxConnections, sharedbase.MinConnections), Cure: cure}
	}
	running := 1
	for _, p := range processes {
		if p.Running() {
			running++
		}
	}
	each := d.Config.Winery.DatabaseConnections
	r := ok("%s with up to %d connections each may need %d; the server has %d, of which %d are in use",
		english.Plural(running, "process", ""), each, running*each, s.MaxConnections, s.Connections)
	if running*each > s.MaxConnections {
		r.State, r.Cure = Warning, cure
	}
	return r
}
