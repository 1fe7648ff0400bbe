// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import "strings"

// asText returns s as PostgreSQL can store it as text. Errors, and what clients send,
// may have any bytes.
func asText(s string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "\ufffd")
}
