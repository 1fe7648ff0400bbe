// SPDX-License-Identifier: GPL-3.0-or-later

package formattest

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"winery/format"
	"winery/test/expect"
)

// flips yields copies of an image, each with one byte changed.
func flips(image Device, step int) func(yield func(at int, d Device) bool) {
	return func(yield func(at int, d Device) bool) {
		for at := 0; at < len(image); at += step {
			d := bytes.Clone(image)
			d[at] ^= 0x40
			if !yield(at, d) {
				return
			}
		}
	}
}

// damageIsFound: whichever byte changes, Verify fails or every object is as it was,
// and Inspect agrees with Verify.
func damageIsFound(t *testing.T, f format.Format) {
	objects := contents(40)
	found := 0
	for at, d := range flips(newImage(t, f, objects), 11) {
		r, err := f.Open(d, int64(len(d)), "test")
		if err != nil {
			if damage := new(format.DamageError); !errors.As(err, &damage) || damage.Image != "test" {
				t.Fatalf("byte %d: %v", at, err)
			}
			continue
		}
		_, err = r.Verify(t.Context(), nil)
		damages := 0
		if _, err := r.Inspect(t.Context(), nil, func(format.Damage) error { damages++; return nil }); err != nil {
			t.Fatalf("byte %d: Inspect: %v", at, err)
		}
		if errors.As(err, new(*format.DamageError)) != (damages > 0) {
			t.Fatalf("byte %d: Verify says %v, Inspect has %d damages", at, err, damages)
		}
		if damages > 0 {
			found++
			continue
		}
		for i, o := range objects {
			if _, got, err := r.GetUpTo(ID(o), math.MaxInt64); err != nil || !bytes.Equal(got, o) {
				t.Fatalf("byte %d: Verify passed, and object %d has %d bytes instead of %d, %v", at, i, len(got), len(o), err)
			}
		}
	}
	if found < 100 {
		t.Errorf("only %d damages were found", found)
	}
}

// restore restores the objects that cannot be read: from another copy, and from
// their contents where the index leads to them.
func restore(t *testing.T, f format.Format) {
	objects := contents(40)
	image := newImage(t, f, objects)
	intact := open(t, f, image)
	fromCopy, fromContent := 0, 0
	for at, d := range flips(image, 101) {
		r, err := f.Open(d, int64(len(d)), "test")
		if err != nil { // what Open reads
			expect.NoError(t, intact.RestoreHeadTo(t.Context(), d))
			Holds(t, f, d, objects, 0)
			continue
		}
		var damaged [][]byte
		for _, o := range objects {
			if _, err := r.Check(t.Context(), ID(o)); err != nil {
				damaged = append(damaged, o)
			}
		}
		if len(damaged) == 0 {
			continue
		}
		byContent := Device(bytes.Clone(d))
		n, err := intact.RestoreTo(t.Context(), d, int64(len(d)), "test", IDs(damaged))
		if n != len(damaged) || err != nil {
			t.Fatalf("byte %d: restored %d of %d objects, %v", at, n, len(damaged), err)
		}
		Holds(t, f, d, objects, 0)
		fromCopy++
		before := bytes.Clone(byContent)
		for _, o := range damaged {
			err = errors.Join(err, f.RestoreContent(t.Context(), byContent, int64(len(d)), "test", o))
		}
		refused := errors.Is(err, format.ErrNotFound) || errors.Is(err, format.ErrLayout) || errors.As(err, new(*format.DamageError))
		if refused && bytes.Equal(byContent, before) { // the index leads elsewhere
			continue
		}
		expect.NoError(t, err)
		Holds(t, f, byContent, objects, 0)
		fromContent++
	}
	if fromCopy < 10 || fromContent < 10 {
		t.Errorf("only %d images were restored from a copy, %d from contents", fromCopy, fromContent)
	}
}

// restoreErased restores one of two objects that were erased, as after the database was
// restored from a backup, with the power cut at each write: the image becomes that in
// which only the other one was erased, at once or by the same call.
func restoreErased(t *testing.T, f format.Format) {
	random := rand.New(rand.NewPCG(1, 2))
	objects := contents(40)
	intact := newImage(t, f, objects)
	want, erased := bytes.Clone(intact), bytes.Clone(intact)
	eraseIn(t, f, want, objects[10:11])
	eraseIn(t, f, erased, objects[10:12])
	left := slices.Concat(objects[:10], objects[11:])
	others := slices.Concat(objects[:10], objects[12:])
	restore := func(d format.Device) error {
		n, err := open(t, f, intact).RestoreTo(t.Context(), d, int64(len(intact)), "test", IDs(objects[11:12]))
		if err == nil && n != 1 {
			t.Fatalf("restored %d objects", n)
		}
		return err
	}
	for writes := 0; ; writes++ {
		device := &PowerLoss{Device: bytes.Clone(erased), Kept: erased, Left: writes}
		err := restore(device)
		if err == nil {
			Holds(t, f, device.Device, left, 1)
			if !bytes.Equal(device.Device, want) || writes < 2 {
				t.Errorf("after %d writes and flushes the image differs from one in which the object was never erased", writes)
			}
			return
		}
		if !errors.Is(err, errPower) {
			t.Fatal(err)
		}
		for range 10 {
			d := device.Afterwards(random)
			for i, o := range others {
				if _, err := open(t, f, d).Check(t.Context(), ID(o)); err != nil {
					t.Fatalf("power cut at write %d: object %d: %v", writes, i, err)
				}
			}
			expect.NoError(t, restore(d))
			if !bytes.Equal(d, want) {
				t.Fatalf("power cut at write %d: the image differs", writes)
			}
		}
	}
}

func restoreRefuses(t *testing.T, f format.Format) {
	objects := contents(40)
	image := newImage(t, f, objects)
	other := newImage(t, f, objects[1:])
	before := bytes.Clone(image)
	size := int64(len(image))
	if n, err := open(t, f, other).RestoreTo(t.Context(), image, size, "test", IDs(objects[5:6])); n != 0 || !errors.Is(err, format.ErrLayout) {
		t.Errorf("another image: restored %d, %v", n, err)
	}
	if err := f.RestoreContent(t.Context(), image, size, "test", []byte("absent")); !errors.Is(err, format.ErrNotFound) {
		t.Errorf("an absent object: %v", err)
	}
	erased := bytes.Clone(image)
	eraseIn(t, f, erased, objects[5:6])
	if n, err := open(t, f, erased).RestoreTo(t.Context(), image, size, "test", IDs(objects[5:6])); n != 0 || err != nil {
		t.Errorf("from a copy that does not have the object: restored %d, %v", n, err)
	}
	if !bytes.Equal(image, before) {
		t.Error("the image was changed")
	}
}

// restoreHeadRefuses: the head of another image, or of one of the same objects in another
// order, is written over no head, whole or damaged.
func restoreHeadRefuses(t *testing.T, f format.Format) {
	objects := contents(40)
	whole := newImage(t, f, objects)
	beheaded := bytes.Clone(whole)
	beheaded[0] ^= 1
	backwards := slices.Clone(objects)
	slices.Reverse(backwards)
	for what, from := range map[string]Device{
		"other objects": newImage(t, f, contents(80)[40:]), "fewer objects": newImage(t, f, objects[1:]),
		"more objects": newImage(t, f, contents(80)), "another order": newImage(t, f, backwards), "no objects": newImage(t, f, nil),
	} {
		for state, image := range map[string]Device{"whole": whole, "beheaded": beheaded} {
			before := bytes.Clone(image)
			if err := open(t, f, from).RestoreHeadTo(t.Context(), image); !errors.Is(err, format.ErrLayout) || !bytes.Equal(image, before) {
				t.Errorf("%s, the image was %s: %v; changed: %v", what, state, err, !bytes.Equal(image, before))
				copy(image, before)
			}
		}
	}
}
