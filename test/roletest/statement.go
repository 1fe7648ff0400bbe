// SPDX-License-Identifier: GPL-3.0-or-later

package roletest

import (
	"strings"

	"winery/sharedbase"
)

// pointOf is the point before a statement of sharedbase: the statement's name or, of one
// that pgx makes, its first word, such as "commit". Renewals of leases have no point:
// they come at any moment.
func pointOf(s sharedbase.Statement) Point {
	switch name := s.Name(); name {
	case "RenewLeases", "RenewLockTimes":
		return ""
	case "":
		word, _, _ := strings.Cut(s.SQL, " ")
		return Point(word)
	default:
		return Point(name)
	}
}
