// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic_test

import (
	"bytes"
	"errors"
	"testing"

	"winery/format"
	"winery/format/formattest"
	"winery/mosaic"
	"winery/test/corrupt"
	"winery/test/expect"
)

// flipObjects are 15 small objects, the first empty.
func flipObjects() [][]byte {
	objects := contents(15)
	for i := range objects {
		objects[i] = objects[i][:min(len(objects[i]), 16+i)]
	}
	return objects
}

// Whichever bit of an image flips, Open or Verify fails; what can be read is right, or
// Inspect blames it; and erasing an object takes that object and no other, or does
// nothing.
func TestEveryBit(t *testing.T) {
	for name, image := range map[string]device{
		"none":   newImage(t, mosaic.Format{}, flipObjects()),
		"zstd":   newImage(t, mosaic.Format{Zstd: true}, flipObjects()),
		"Python": python(t, "40-zstd3-one-deleted"),
	} {
		objects := flipObjects()
		if name == "Python" {
			objects = without(pythons(40), 0, 6)
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			random := corrupt.Random(t)
			owner := map[int64]int{} // of the bytes of index entries
			for i, o := range objects {
				begin, end := open(t, image).EntryRange(formattest.ID(o))
				for at := begin; at < end; at++ {
					owner[at] = i
				}
			}
			for bit := range 8 * len(image) {
				at := int64(bit / 8)
				d := flipped(image, int64(bit))
				victim, owned := owner[at]
				if !owned {
					victim = random.IntN(len(objects))
				}
				if check(t, d, objects) == nil {
					t.Errorf("nothing was seen")
				}
				eraseDamaged(t, image, d, objects, victim)
				if t.Failed() {
					t.Fatalf("with bit %d of byte %d flipped", bit%8, at)
				}
			}
		})
	}
}

// check runs Open, Get of each object, Keys, Check and Verify over an image that may
// be damaged. It fails the test where an object is not as it was although Verify
// or Inspect is content with it, and returns Verify's error.
func check(t *testing.T, d device, objects [][]byte) error {
	t.Helper()
	r, err := mosaic.Open(d, int64(len(d)), "damaged")
	if err != nil {
		wantDamage(t, err)
		return err
	}
	_, verifyErr := r.Verify(t.Context(), nil)
	if verifyErr != nil {
		wantDamage(t, verifyErr)
	}
	blamed := map[format.ObjID]bool{}
	_, err = r.Inspect(t.Context(), nil, func(x format.Damage) error { blamed[x.ID] = true; return nil })
	expect.NoError(t, err)
	if len(blamed) > 0 != (verifyErr != nil) {
		t.Errorf("%d damages, but Verify says: %v", len(blamed), verifyErr)
	}
	for _, err := range r.Keys(t.Context()) {
		if err != nil && verifyErr == nil {
			t.Errorf("Keys: %v, but Verify had nothing to say", err)
		}
	}
	for i, o := range objects {
		got, err := r.Get(formattest.ID(o))
		if sound := err == nil && bytes.Equal(got, o); !sound && len(blamed) == 0 {
			t.Errorf("object %d: %d bytes instead of %d, %v, but nothing was blamed for it", i, len(got), len(o), err)
		} else if sound && blamed[formattest.ID(o)] {
			t.Errorf("object %d was blamed", i)
		}
	}
	return verifyErr
}

func wantDamage(t *testing.T, err error) {
	t.Helper()
	if damage := new(format.DamageError); !errors.As(err, &damage) || damage.Image == "" {
		t.Errorf("not a DamageError: %v", err)
	}
}

// eraseDamaged erases an object in a damaged image, then checks all the others,
// and the place where the object's bytes were before the damage.
func eraseDamaged(t *testing.T, image, d device, objects [][]byte, victim int) {
	t.Helper()
	sound := map[int]bool{}
	if r, err := mosaic.Open(d, int64(len(d)), "damaged"); err == nil {
		for i, o := range objects {
			got, err := r.Get(formattest.ID(o))
			sound[i] = err == nil && bytes.Equal(got, o)
		}
	}
	before := bytes.Clone(d)
	n, err := mosaic.Format{}.Erase(t.Context(), d, int64(len(d)), "damaged", 1, formattest.IDs(objects[victim:victim+1]))
	if n == 0 {
		if err != nil && !errors.As(err, new(*format.DamageError)) || !bytes.Equal(d, before) {
			t.Errorf("erasing object %d changed something, or failed: %v", victim, err)
		}
		return
	}
	r := open(t, d)
	for i, o := range objects {
		if got, err := r.Get(formattest.ID(o)); i != victim && sound[i] && (err != nil || !bytes.Equal(got, o)) {
			t.Errorf("erasing object %d destroyed object %d: %v", victim, i, err)
		}
	}
	begin, end := elementOf(t, image, objects[victim])
	if rest := d[begin+2 : end]; len(bytes.Trim(rest, "\x00")) > 0 {
		t.Errorf("erased object %d is still in the image: %x", victim, rest)
	}
}
