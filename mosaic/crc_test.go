// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic

import (
	"bytes"
	"testing"

	"winery/test/corrupt"
)

// The checksum of two sequences comes of those of each.
func TestJoinCRC(t *testing.T) {
	random := corrupt.Random(t)
	for range 200 {
		b := make([]byte, random.IntN(5000))
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		cut := random.IntN(len(b) + 1)
		if got, want := joinCRC(updateCRC(0, b[:cut]), updateCRC(0, b[cut:]), int64(len(b)-cut)), updateCRC(0, b); got != want {
			t.Fatalf("%x instead of %x, %d of %d bytes first", got, want, cut, len(b))
		}
	}
}

// The checksum after a change comes of the one before, and of what changed.
func TestChangedCRC(t *testing.T) {
	random := corrupt.Random(t)
	for range 200 {
		before := make([]byte, 1+random.IntN(5000))
		for i := range before {
			before[i] = byte(random.Uint32())
		}
		from := random.IntN(len(before))
		to := from + 1 + random.IntN(len(before)-from)
		after := bytes.Clone(before)
		clear(after[from:to])
		change := remainder(updateCRC(noBytes, before[from:to]))
		if got, want := updateCRC(0, before)^shift(change, int64(len(before)-to)), updateCRC(0, after); got != want {
			t.Fatalf("%x instead of %x, bytes %d to %d of %d", got, want, from, to, len(before))
		}
	}
}
