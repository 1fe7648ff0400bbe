// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic_test

import (
	"bytes"
	"errors"
	"testing"

	"winery/format"
	"winery/mosaic"
	"winery/test/corrupt"
	"winery/test/expect"
)

// TestMend flips each bit of the heads of tiles and of the index's checksum, which makes
// the image what it was, and other bits, after which it is what it was or not changed.
func TestMend(t *testing.T) {
	for name, image := range map[string]device{
		"none":        newImage(t, mosaic.Format{}, flipObjects()),
		"zstd":        newImage(t, mosaic.Format{Zstd: true}, flipObjects()),
		"small tiles": python(t, "40-small-tiles"),
		"deleted":     python(t, "40-zstd3-one-deleted"),
		"empty":       python(t, "0"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if wantMended(t, image, image) {
				t.Error("a whole image was mended")
			}
			heads, err := open(t, image).TileHeads(t.Context())
			expect.NoError(t, err)
			begin, end := open(t, image).IndexCRC()
			for _, part := range append(heads, [2]int64{begin, end}) {
				for bit := part[0] * 8; bit < part[1]*8; bit++ {
					if !wantMended(t, image, flipped(image, bit)) {
						t.Fatalf("bit %d of byte %d was not mended", bit%8, bit/8)
					}
				}
			}
			random := corrupt.Random(t)
			for range 300 {
				wantMended(t, image, flipped(image, random.Int64N(int64(len(image))*8)))
			}
		})
	}
}

func flipped(image device, bit int64) device {
	d := device(bytes.Clone(image))
	d[bit/8] ^= 1 << (bit % 8)
	return d
}

// wantMended mends an image, which must be what it was in the end, or not changed.
func wantMended(t *testing.T, image, damaged device) bool {
	t.Helper()
	d := device(bytes.Clone(damaged))
	mended, err := mosaic.Format{}.Mend(t.Context(), d, int64(len(d)), "damaged")
	if err != nil && !errors.As(err, new(*format.DamageError)) {
		t.Fatal(err)
	}
	want := damaged
	if mended {
		want = image
	}
	if !bytes.Equal(d, want) {
		t.Fatalf("mended: %v, %v; the image differs", mended, err)
	}
	return mended
}
