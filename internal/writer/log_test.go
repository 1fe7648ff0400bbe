// SPDX-License-Identifier: GPL-3.0-or-later

package writer_test

import (
	"regexp"
)

var requestID = regexp.MustCompile(`request id ([0-9a-z]+)`)

func requestIDIn(text string) string {
	if found := requestID.FindStringSubmatch(text); found != nil {
		return found[1]
	}
	return ""
}
