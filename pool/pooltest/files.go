// SPDX-License-Identifier: GPL-3.0-or-later

package pooltest

import (
	"os"
	"testing"

	"winery/test/expect"
)

// Files returns the names of the files in folder, sorted.
func Files(t testing.TB, folder string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	expect.NoError(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
