// SPDX-License-Identifier: GPL-3.0-or-later

package formattest

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"testing"

	"winery/format"
	"winery/test/expect"
)

// Holds fails the test unless an image is intact and has these objects and no other,
// and so many that were erased.
func Holds(t testing.TB, f format.Format, d Device, objects [][]byte, deleted int64) {
	t.Helper()
	r := open(t, f, d)
	want := format.Counts{Objects: int64(len(objects)), Deleted: deleted}
	missing := make(map[format.ObjID]bool)
	for i, o := range objects {
		want.Bytes += int64(len(o))
		missing[ID(o)] = true
		size, got, err := r.GetUpTo(ID(o), math.MaxInt64)
		if err != nil || size != int64(len(o)) || !bytes.Equal(got, o) {
			t.Fatalf("object %d: %d bytes instead of %d, %v", i, len(got), len(o), err)
		}
	}
	read := int64(0)
	got, err := r.Verify(t.Context(), func(n int64) { read += n })
	if err != nil || got != want {
		t.Fatalf("verified %+v instead of %+v, %v", got, want, err)
	}
	if read != r.Info().ObjectsSize {
		t.Fatalf("progress reported %d bytes of %d", read, r.Info().ObjectsSize)
	}
	picked, err := r.Pick(t.Context(), 20)
	expect.NoError(t, err)
	for _, id := range picked {
		if _, err := r.Check(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	for id, err := range r.Keys(t.Context()) {
		if err != nil || !missing[id] {
			t.Fatalf("unexpected key %x, %v", id, err)
		}
		delete(missing, id)
	}
	if len(missing) != 0 {
		t.Fatalf("%d keys are missing", len(missing))
	}
	if _, err := r.Check(t.Context(), ID([]byte("no such object"))); !errors.Is(err, format.ErrNotFound) {
		t.Fatalf("an absent object: %v", err)
	}
}

func roundTrip(t *testing.T, f format.Format) {
	large := make([]byte, 9<<20)
	for i := range large {
		large[i] = byte(i >> 3 * 31)
	}
	for name, objects := range map[string][][]byte{
		"none":  {},
		"one":   {[]byte("x")},
		"empty": {{}},
		"40":    contents(40),
		"5000":  contents(5000),
		"large": {[]byte("before"), large, []byte("after"), {}},
		"zeros": {make([]byte, 4<<20), make([]byte, 100)},
	} {
		t.Run(name, func(t *testing.T) { Holds(t, f, newImage(t, f, objects), objects, 0) })
	}
}

func sizesFirst(t *testing.T, f format.Format) {
	objects := [][]byte{{}, []byte("small"), bytes.Repeat([]byte("large"), 100_000)}
	r := open(t, f, newImage(t, f, objects))
	for i, o := range objects {
		size := int64(len(o))
		for _, atMost := range []int64{-1, 0, size - 1, size, size + 1, math.MaxInt64} {
			got, content, err := r.GetUpTo(ID(o), atMost)
			if within := size <= atMost; err != nil || got != size || (content != nil) != within || within && !bytes.Equal(content, o) {
				t.Errorf("object %d up to %d: size %d, content of %d bytes, %v", i, atMost, got, len(content), err)
			}
		}
	}
	if _, _, err := r.GetUpTo(ID([]byte("absent")), -1); !errors.Is(err, format.ErrNotFound) {
		t.Errorf("an absent object: %v", err)
	}
}

func largerDevice(t *testing.T, f format.Format) {
	objects := contents(100)
	image := newImage(t, f, objects)
	larger := append(bytes.Clone(image), make([]byte, 10_000)...)
	Holds(t, f, larger, objects, 0)
	if a, b := open(t, f, image), open(t, f, larger); a.Info() != b.Info() || a.Fingerprint() != b.Fingerprint() {
		t.Errorf("%+v in an image, %+v on a larger device", a.Info(), b.Info())
	}
}

func inventory(t *testing.T, f format.Format) {
	objects := contents(500)
	image := newImage(t, f, objects)
	eraseIn(t, f, image, objects[7:8])
	entry, _ := open(t, f, image).EntryRange(ID(objects[8]))
	image[entry+8] ^= 1
	i, err := open(t, f, image).Inventory(t.Context())
	expect.NoError(t, err)
	defer i.Close()
	for n, o := range objects[:400] {
		if got := i.Mark(ID(o)); got != (n != 7 && n != 8) {
			t.Errorf("object %d: %v", n, got)
		}
	}
	if i.Mark(format.ObjID{}) || i.Mark(ID([]byte("absent"))) {
		t.Error("an object that is not in the image was marked")
	}
	if left := slices.Collect(i.Unmarked()); len(left) != 100 || !slices.Contains(left, ID(objects[400])) {
		t.Errorf("%d objects are not marked", len(left))
	}
}

// fingerprint: images of as many objects of the same sizes differ.
func fingerprint(t *testing.T, f format.Format) {
	objects := contents(40)
	image := open(t, f, newImage(t, f, objects)).Fingerprint()
	objects[30] = bytes.Repeat([]byte("x"), len(objects[30]))
	if open(t, f, newImage(t, f, objects)).Fingerprint() == image {
		t.Error("images of different objects have the same fingerprint")
	}
}
