// SPDX-License-Identifier: GPL-3.0-or-later

package mapper_test

import (
	"testing"

	"winery/test/expect"
	"winery/test/roletest"
)

// TestHalfErased: a cleaner died, or is slow, between the bytes of an object and
// its index entry. The image is none the worse for it.
func TestHalfErased(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	name := packed(t, s, 1)[0]
	for id, err := range s.Image(t, name).Keys(t.Context()) {
		expect.NoError(t, err)
		expect.NoError(t, s.Base.Delete(t.Context(), id))
	}
	s.FlipBit(t, name, 520) // in one of them
	step(t, onHost(s, "a"), true)
	wantMapped(t, s, name, "a")
	s.WantQuarantined(t, "")
}
