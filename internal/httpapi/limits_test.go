// SPDX-License-Identifier: GPL-3.0-or-later

package httpapi_test

import (
	"testing"

	"winery/internal/httpapi"
	"winery/internal/limits"
)

// TestLimitsFor: the budgets follow the largest object, and never need more than half
// of the memory of the process.
func TestLimitsFor(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct{ object, memory, want int64 }{
		{100 * mib, limits.None, 512 * mib},
		{960 * mib, limits.None, 1920 * mib},
		{960 * mib, 4096 * mib, 1024 * mib},
		{100 * mib, 1024 * mib, 256 * mib},
	} {
		l := httpapi.LimitsFor(c.object, c.memory)
		if l.Bodies.Limit() != c.want || l.Answers.Limit() != c.want {
			t.Errorf("%+v: budgets %d and %d", c, l.Bodies.Limit(), l.Answers.Limit())
		}
	}
}
