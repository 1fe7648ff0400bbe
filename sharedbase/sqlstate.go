// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"errors"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// kind says what an error of the server means for a caller.
type kind int

const (
	// permanent: the statement, or the data, is wrong. Another try fails in the same way.
	permanent kind = iota
	// passing: the server, or another transaction, is in a temporary condition, which ends by itself or by an
	// operator, without a restart of this process: ErrUnavailable.
	passing
	// diskFull: ErrFull.
	diskFull
	// noTable: ErrNoTable, ErrNotAttached or ErrNotInitialised.
	noTable
	// damaged: ErrDamaged.
	damaged
)

// passingClasses are the classes of SQLSTATE, their first two characters, whose codes are passing.
var passingClasses = []string{
	"08", // connection exception
	"28", // invalid authorization: a password, a role or pg_hba.conf that changed
	"40", // transaction rollback: serialization failure, deadlock
	"53", // insufficient resources: memory, connections
	"57", // operator intervention: cancelled, shutting down, starting, idle session
}

// kinds are the codes that differ from their class.
var kinds = map[string]kind{
	readOnly:         passing, // read-only transaction: a failover made the server a standby
	"25P03":          passing, // idle in transaction for too long
	"25P04":          passing, // transaction for too long
	"26000":          passing, // no such prepared statement, and
	"42P05":          passing, // a duplicate: another client used this session
	"3D000":          passing, // no such database: being restored, say
	notAllowed:       passing, // insufficient privilege: until it is granted
	"53100":          diskFull,
	"55000":          passing, // the database is closed to connections
	"55006":          passing, // object in use
	lockNotAvailable: passing,
	"58000":          passing, // system error, and
	"58030":          passing, // I/O error, of the server's disks
	"72000":          passing, // snapshot too old
	undefinedTable:   noTable,
	"XX001":          damaged, // of a row or a page, and
	"XX002":          damaged, // of an index
}

const (
	notAllowed       = "42501"
	undefinedTable   = "42P01"
	lockNotAvailable = "55P03"
	readOnly         = "25006"
)

// kindOf sorts a SQLSTATE.
func kindOf(code string) kind {
	if k, ok := kinds[code]; ok {
		return k
	}
	for _, class := range passingClasses {
		if strings.HasPrefix(code, class) {
			return passing
		}
	}
	return permanent
}

// unreadable are the beginnings of the codes of what may be the fault of one row or page.
var unreadable = []string{
	"XX",    // damage, and internal errors: many of these are damage that no check has found before
	"58030", // I/O error
	"58P01", // a missing file, such as a part of a table, or of the states of transactions
}

// Unreadable says whether the server answered that it cannot read something: damage, which
// is not always recognised as such (ErrDamaged), or an error of its disk (with
// ErrUnavailable). A statement about other rows may succeed.
func Unreadable(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && slices.ContainsFunc(unreadable, func(code string) bool { return strings.HasPrefix(pg.Code, code) })
}
