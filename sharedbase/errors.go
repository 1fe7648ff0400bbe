// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

var (
	// ErrNotFound: no such shard, or no such object (or a deleted one).
	ErrNotFound = errors.New("not found")
	// ErrNoTable: the shard has no table, because it was cleaned (or never had
	// one): its objects are in its image only.
	ErrNoTable = errors.New("the shard has no table")
	// ErrDamagedRow: a row of a shard's table is no object, as its key is no
	// SHA-256 or its content is NULL.
	ErrDamagedRow = errors.New("not an object")
	// ErrDamaged: the server found damage in a row, a page or an index that it read. A
	// statement about other rows may succeed.
	ErrDamaged = errors.New("the database has found damage in its files")
	// ErrNotInitialised: the database has no Winery schema.
	ErrNotInitialised = errors.New("the database is not initialised: run `wineryctl db init`")
	// ErrNotAttached: the database has no tables winery_*, or those of an older
	// Go Winery. Python's Winery makes none.
	ErrNotAttached = errors.New("the database lacks tables winery_*: run `wineryctl db init` as a user that may create tables")
	// ErrUnavailable: the database does not answer, shuts down, refuses
	// connections or this user, is a standby, or is too busy to grant a lock in
	// time; or a commit may not be on the synchronous standby. Trying again later
	// may succeed. A change that failed so happened as a whole or not at all.
	ErrUnavailable = errors.New("the database is unavailable")
	// ErrContended: another transaction held a row for too long, and nothing was
	// changed. It comes with ErrUnavailable.
	ErrContended = errors.New("another transaction has locked the row of an object")
	// ErrTooFewHosts: the table is not dropped, because fewer hosts than necessary have
	// mapped the image: one was forgotten since, or the owner of the database asks for more.
	ErrTooFewHosts = errors.New("too few hosts have mapped the image")
	// ErrMoved: the image of the shard is in another pool by now. Nothing was changed.
	ErrMoved = errors.New("the image is in another pool by now")
	// ErrTableInUse: a table could not be dropped now, because a transaction that lasts
	// uses it.
	ErrTableInUse = errors.New("a transaction of long duration uses the table, as pg_dump does")
	// ErrNotAllowed: the user of the database lacks a right, which the error names as
	// far as Winery needs it. It comes with ErrUnavailable.
	ErrNotAllowed = errors.New("the database user lacks a right")
	// ErrFull: the database's disk is full. Nothing was changed.
	ErrFull = errors.New("the database's disk is full")
)

// VersionError says that the database's schema has another version than this
// program needs.
type VersionError struct{ Found, Want int }

func (e *VersionError) Error() string {
	cure := "run `wineryctl db upgrade`"
	if e.Found > e.Want {
		cure = "use a newer Winery"
	}
	if e.Found == 0 {
		return "the database's table dbversion is empty: restore it from a backup"
	}
	return fmt.Sprintf("the database has schema version %d, this program needs version %d: %s", e.Found, e.Want, cure)
}

// ModuleError says that the database belongs to another program, which keeps
// the version of its schema in a table of the same name.
type ModuleError struct{ Found string } // what dbmodule says; empty where it says nothing

func (e *ModuleError) Error() string {
	return fmt.Sprintf("the database is not Winery's: its table dbmodule says %q, not %q: name another database in objstorage.database.db",
		e.Found, module)
}

// StateError means that a shard is not, or no longer, in the expected state, or
// that another process has it. Nothing was changed.
type StateError struct {
	Shard               string
	Found, Expected     ShardState // Found is empty where the shard does not exist
	FoundLocker, Locker uuid.UUID  // its holder, and the expected holder (zero: none)
}

func (e *StateError) Error() string {
	if e.Found == stateNone {
		return fmt.Sprintf("shard %s does not exist, expected state %s%s", e.Shard, e.Expected, by(e.Locker))
	}
	return fmt.Sprintf("shard %s has state %s%s, expected %s%s",
		e.Shard, e.Found, by(e.FoundLocker), e.Expected, by(e.Locker))
}

func by(locker uuid.UUID) string {
	if locker == uuid.Nil {
		return ""
	}
	return " by " + locker.String()
}

// explain is the one place where errors of pgx become errors of this package.
// ctx is the caller's own: what its end caused is reported as such. Errors of
// this package pass unchanged.
func (b *SharedBase) explain(ctx context.Context, what string, err error) error {
	var state *StateError
	var quarantined *QuarantinedError
	var pg *pgconn.PgError
	switch {
	case err == nil, errors.As(err, &state), errors.As(err, &quarantined), errors.Is(err, ErrNotFound):
		return err
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", what, ctx.Err())
	case errors.Is(err, pgx.ErrNoRows):
		return fmt.Errorf("%s: %w", what, ErrNotFound)
	case !errors.As(err, &pg):
		if noAnswer(err) {
			return fmt.Errorf("%s: %w: %w", what, ErrUnavailable, err)
		}
		return fmt.Errorf("%s: %w", what, err)
	}
	if pg.Code == readOnly {
		b.conns.reset() // pgx asks for a primary only while connecting
	}
	switch kind := kindOf(pg.Code); {
	case isUnreplicated(pg):
		return fmt.Errorf("%s: %w: %w: %w", what, ErrUnavailable, errUnreplicated, err)
	case pg.Code == notAllowed:
		if needed := rightNeeded(b.holder.Role, pg.Message); needed != "" {
			err = fmt.Errorf("%w; %s", err, needed)
		}
		return fmt.Errorf("%s: %w: %w: %w", what, ErrUnavailable, ErrNotAllowed, err)
	case strings.Contains(pg.Message, "unsupported startup parameter"):
		return fmt.Errorf("%s: %w: %w; remove the parameter from the DSN, or add it to ignore_startup_parameters of the PgBouncer",
			what, ErrUnavailable, err)
	case kind == passing:
		return fmt.Errorf("%s: %w: %w", what, ErrUnavailable, err)
	case kind == diskFull:
		return fmt.Errorf("%s: %w: %w", what, ErrFull, err)
	case kind == damaged:
		return fmt.Errorf("%s: %w: %w", what, ErrDamaged, err)
	case kind == noTable && strings.Contains(pg.Message, tablePrefix):
		return fmt.Errorf("%s: %w", what, ErrNoTable)
	case kind == noTable && strings.Contains(pg.Message, extensionPrefix):
		return fmt.Errorf("%s: %w", what, ErrNotAttached)
	case kind == noTable:
		return fmt.Errorf("%s: %w", what, ErrNotInitialised)
	default:
		return fmt.Errorf("%s: %w", what, err)
	}
}

// isLockTimeout says that a lock was not to be had within lock_timeout.
func isLockTimeout(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == lockNotAvailable
}

func isNoTable(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == undefinedTable
}

// noAnswer says whether an error that the server did not send means a failed
// connection, or an answer that did not come in time.
func noAnswer(err error) bool {
	var connect *pgconn.ConnectError
	var network net.Error
	return errors.As(err, &connect) || errors.As(err, &network) || pgconn.SafeToRetry(err) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}

// Public returns the error of this package that err is, if the text of that names no
// host, user or statement, so that any client may see it. Else it returns nil.
func Public(err error) error {
	for _, known := range []error{ErrNotInitialised, ErrNotAttached, ErrFull, ErrUnavailable} {
		if errors.Is(err, known) {
			return known
		}
	}
	return nil
}
