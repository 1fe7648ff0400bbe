// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// Objects are refused where the server took back their statement because of its data or
// its disk. Where it ended the session, the outcome is unknown.
func TestRefused(t *testing.T) {
	for pg, want := range map[pgconn.PgError]bool{
		{SeverityUnlocalized: "ERROR", Code: "XX000"}:   true,
		{SeverityUnlocalized: "ERROR", Code: "XX001"}:   true,
		{SeverityUnlocalized: "ERROR", Code: "XX002"}:   true,
		{SeverityUnlocalized: "ERROR", Code: "58030"}:   true,
		{SeverityUnlocalized: "ERROR", Code: "58P01"}:   true,
		{SeverityUnlocalized: "ERROR", Code: "53100"}:   false,
		{SeverityUnlocalized: "ERROR", Code: "57014"}:   false,
		{SeverityUnlocalized: "FATAL", Code: "XX001"}:   false,
		{SeverityUnlocalized: "PANIC", Code: "58030"}:   false,
		{SeverityUnlocalized: "WARNING", Code: "XX000"}: false,
		{Code: "XX001"}: false,
	} {
		err := new(SharedBase).explain(t.Context(), "adding", &pg)
		if Refused(err) != want {
			t.Errorf("%s %s: %v", pg.SeverityUnlocalized, pg.Code, err)
		}
	}
	contended := fmt.Errorf("%w: %w", ErrContended, &pgconn.PgError{SeverityUnlocalized: "ERROR", Code: lockNotAvailable})
	if !Refused(contended) {
		t.Errorf("%v", contended)
	}
	for _, err := range []error{nil, errors.New("no answer"), &StateError{}, ErrUnavailable} {
		if Refused(err) {
			t.Errorf("%v", err)
		}
	}
}
