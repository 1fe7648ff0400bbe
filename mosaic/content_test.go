// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"winery/format"
	"winery/format/formattest"
	"winery/mosaic"
	"winery/test/corrupt"
	"winery/test/expect"
)

// fast and slow are levels by which programs take more, and less.
var fast, slow = mosaic.Format{Zstd: true, Level: 1}, mosaic.Format{Zstd: true, Level: 19}

// programs are n texts.
func programs(n int) [][]byte {
	random := rand.New(rand.NewPCG(1, 2))
	objects := make([][]byte, n)
	for i := range objects {
		for range 200 {
			objects[i] = fmt.Appendf(objects[i], "x%d = f(%d)\n", random.IntN(30), random.IntN(100))
		}
	}
	return objects
}

// eachHeadBit calls fn with copies of an image in which one bit of an object's head is
// flipped.
func eachHeadBit(t *testing.T, image device, o []byte, fn func(d device)) {
	t.Helper()
	begin, start, _, err := open(t, image).Element(formattest.ID(o))
	expect.NoError(t, err)
	for bit := 8 * begin; bit < 8*start; bit++ {
		fn(flipped(image, bit))
		if t.Failed() {
			t.Fatalf("with bit %d of byte %d flipped", bit%8, bit/8)
		}
	}
}

// TestRestoreContentOfDamagedHead: whichever bit of an object's head has flipped, the
// image is whole once the object is restored. Another level's frame would fit where the
// damaged size says that the object ends.
func TestRestoreContentOfDamagedHead(t *testing.T) {
	objects := programs(3)
	image, plain := newImage(t, fast, objects), newImage(t, mosaic.Format{}, objects)
	if smaller := newImage(t, slow, objects); len(smaller) > len(image)-64*len(objects) {
		t.Fatalf("the levels make images of %d and %d bytes", len(image), len(smaller))
	}
	followed := func(image device) device {
		d := device(bytes.Clone(image))
		erase(t, d, objects[1:2])
		return d
	}
	for what, test := range map[string]struct {
		image   device
		deleted int64
	}{
		"compressed":                       {image, 0},
		"compressed, followed by Void":     {followed(image), 1},
		"not compressed":                   {plain, 0},
		"not compressed, followed by Void": {followed(plain), 1},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			left := objects
			if test.deleted > 0 {
				left = without(objects, 1)
			}
			for _, f := range []mosaic.Format{fast, slow} {
				eachHeadBit(t, test.image, objects[0], func(d device) {
					if err := f.RestoreContent(t.Context(), d, int64(len(d)), "test", objects[0]); err != nil {
						t.Error(err)
						return
					}
					holds(t, d, left, test.deleted)
				})
			}
		})
	}
}

// TestRestoreContentCut: an object gets another frame, and the power is cut at each write.
// Whatever is left, the image is whole as soon as its objects are, and the next erasure
// in it succeeds.
func TestRestoreContentCut(t *testing.T) {
	random := corrupt.Random(t)
	objects := programs(3)
	image := newImage(t, fast, objects)
	_, end := elementOf(t, image, objects[0])
	damaged := flip(image, end-9)
	restore := func(d format.Device) error {
		return slow.RestoreContent(t.Context(), d, int64(len(image)), "test", objects[0])
	}
	for writes := 0; ; writes++ {
		c := &formattest.PowerLoss{Device: bytes.Clone(damaged), Kept: damaged, Left: writes}
		if err := restore(c); err == nil {
			holds(t, c.Device, objects, 0)
			if bytes.Equal(c.Device, image) || writes < 6 {
				t.Errorf("%d writes and flushes; the object has the same frame: %v", writes, bytes.Equal(c.Device, image))
			}
			break
		}
		for range 3 {
			d := c.Afterwards(random)
			if _, err := open(t, d).Check(t.Context(), formattest.ID(objects[0])); err != nil {
				expect.NoError(t, restore(d))
			}
			holds(t, d, objects, 0)
			erase(t, d, objects[2:])
			holds(t, d, objects[:2], 1)
		}
	}
}

// TestRestoreContentBesideUnreadable: an object is restored while another one of its tile
// cannot be read. Meanwhile others can be erased, and once all can be read, the image is as if
// there had never been damage.
func TestRestoreContentBesideUnreadable(t *testing.T) {
	for name, f := range formats {
		t.Run(name, func(t *testing.T) {
			objects := programs(40)
			image := newImage(t, f, objects)
			_, end := elementOf(t, image, objects[20])
			_, unreadable := elementOf(t, image, objects[30])
			d := flip(image, end-1)
			bad := formattest.BadByte{Device: d, At: unreadable - 1}
			expect.NoError(t, f.RestoreContent(t.Context(), bad, int64(len(d)), "test", objects[20]))
			holds(t, d, objects, 0)
			n, err := f.Erase(t.Context(), bad, int64(len(d)), "test", 1, formattest.IDs(objects[5:7]))
			if n != 2 || err != nil {
				t.Fatalf("erased %d, %v", n, err)
			}
			erase(t, d, objects[7:8])
			holds(t, d, without(objects, 5, 6, 7), 3)
			wantUndamaged(t, f, d, objects, objects[5:8])
		})
	}
}

// wantUndamaged fails the test unless an image is one that was never damaged, in which some of
// its objects were erased.
func wantUndamaged(t *testing.T, f mosaic.Format, d device, objects, erased [][]byte) {
	t.Helper()
	want := newImage(t, f, objects)
	erase(t, want, erased)
	if !bytes.Equal(d, want) {
		t.Error("the image differs from one that was never damaged")
	}
}

// TestEraseWhileUncounted: an incomplete image is read as a whole while an object's frame is
// damaged, so that its size is not known. Once the object is restored, and another one
// erased, the counters are right.
func TestEraseWhileUncounted(t *testing.T) {
	objects := programs(4)
	image := newImage(t, fast, objects)
	_, start, _, err := open(t, image).Element(formattest.ID(objects[0]))
	expect.NoError(t, err)
	d := flip(image, start) // of the frame's magic number
	c := &formattest.PowerLoss{Device: d, Kept: bytes.Clone(d), Left: 2}
	if _, err := fast.Erase(t.Context(), c, int64(len(d)), "test", 1, formattest.IDs(objects[1:2])); err == nil {
		t.Fatal("the erasure was not interrupted")
	}
	erase(t, d, objects[1:2])
	expect.NoError(t, fast.RestoreContent(t.Context(), d, int64(len(d)), "test", objects[0]))
	erase(t, d, objects[2:3])
	holds(t, d, without(objects, 1, 2), 2)
	wantUndamaged(t, fast, d, objects, objects[1:3])
}

// TestRestoreContentSparesNext: where the entry of the next object is damaged, nothing
// tells where that object begins, and none of its bytes are written.
func TestRestoreContentSparesNext(t *testing.T) {
	objects := programs(2)
	image := newImage(t, fast, objects)
	entry, _ := open(t, image).EntryRange(formattest.ID(objects[1]))
	_, end := elementOf(t, image, objects[0])
	for _, f := range []mosaic.Format{fast, slow} {
		eachHeadBit(t, flip(image, entry+2), objects[0], func(d device) {
			before := device(bytes.Clone(d))
			err := f.RestoreContent(t.Context(), d, int64(len(d)), "test", objects[0])
			switch {
			case err == nil:
				got, err := open(t, d).Get(formattest.ID(objects[0]))
				if err != nil || !bytes.Equal(got, objects[0]) || !bytes.Equal(d[end:], before[end:]) {
					t.Errorf("restored: %v, or the next object was written", err)
				}
			case !errors.Is(err, format.ErrLayout) || !bytes.Equal(d, before):
				t.Error(err)
			}
		})
	}
}
