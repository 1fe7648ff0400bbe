// SPDX-License-Identifier: GPL-3.0-or-later

package status

import (
	"context"
	"errors"
	"regexp"

	"winery/sharedbase"
)

const elsewhere = "`wineryctl status` shows the error"

// hide returns err without what clients of the writer must not see.
func hide(err error) error {
	if err == nil {
		return nil
	}
	if known := sharedbase.Public(err); known != nil {
		return known
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return context.DeadlineExceeded
	}
	return errors.New(elsewhere)
}

// cause matches the status of a role up to the error for which it fails.
var cause = regexp.MustCompile(`^(.*?(?:since (?:[0-9-]+ )?\d\d:\d\d[^:]*|failed)): .*`)

// hideErrors is for a report that clients of the writer see.
func (f *facts) hideErrors() {
	f.databaseErr = hide(f.databaseErr)
	for p, err := range f.unread {
		f.unread[p] = hide(err)
	}
	for i, p := range f.processes {
		f.processes[i].Status = cause.ReplaceAllString(p.Status, "$1: "+elsewhere)
	}
}
