// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic_test

import (
	"testing"

	"go.uber.org/goleak"

	"winery/format"
	"winery/format/formattest"
	"winery/mosaic"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// formats are what images can be written as.
var formats = map[string]format.Format{
	"none":       mosaic.Format{},
	"zstd":       mosaic.Format{Zstd: true, Level: 3},
	"dictionary": mosaic.Format{Zstd: true, Level: 9, Dictionary: true},
}

// TestFormat runs what every format must pass. What is particular to Mosaic is in the
// other tests.
func TestFormat(t *testing.T) {
	for name, f := range formats {
		t.Run(name, func(t *testing.T) { formattest.Run(t, f) })
	}
}
