// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"errors"

	"github.com/jackc/pgx/v5/pgconn"
)

// Refused reports whether an error of Add may concern some of its objects only: ErrContended,
// or the server could not read or write what it has of an object, because of damage or its
// disk. It took back the statement: nothing was stored, and the claim holds. To add the other
// objects, add fewer at once.
func Refused(err error) bool {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || pg.SeverityUnlocalized != "ERROR" {
		return false // what ends the session, or the server, tells nothing of a commit
	}
	return errors.Is(err, ErrContended) || Unreadable(err)
}
