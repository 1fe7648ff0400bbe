// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"errors"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// damageCodes are the beginnings of the SQLSTATEs of damage that may concern a few rows only.
var damageCodes = []string{
	"XX",    // a damaged page, row or index, or what no check of the server has expected
	"58030", // I/O error, of the server's disks
	"58P01", // a file is missing
}

// Refused reports whether an error of Add may concern some of its objects only: ErrContended,
// or the server could not read or write what it has of an object, because of damage or its
// disk. It took back the statement: nothing was stored, and the claim holds. To add the other
// objects, add fewer at once.
func Refused(err error) bool {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || pg.SeverityUnlocalized != "ERROR" {
		return false // what ends the session, or the server, tells nothing of a commit
	}
	return errors.Is(err, ErrContended) || slices.ContainsFunc(damageCodes, func(code string) bool { return strings.HasPrefix(pg.Code, code) })
}
