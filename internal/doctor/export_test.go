// SPDX-License-Identifier: GPL-3.0-or-later

package doctor

import "testing"

// SetRBDBus makes path the place of the kernel's rbd driver, until the test ends.
func SetRBDBus(t *testing.T, path string) {
	before := rbdBus
	rbdBus = path
	t.Cleanup(func() { rbdBus = before })
}
