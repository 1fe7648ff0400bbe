// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"winery/format"
	"winery/format/formattest"
	"winery/mosaic"
)

// FuzzOpen takes any bytes for an image.
func FuzzOpen(f *testing.F) {
	for _, image := range fuzzImages(f) {
		f.Add([]byte(image))
	}
	f.Fuzz(func(t *testing.T, image []byte) { useAny(t, image) })
}

// FuzzDamage takes an image and damages it: three bytes of changes are a place
// and what to flip there. The checksums of Open are made right, so that what
// follows them is reached.
func FuzzDamage(f *testing.F) {
	images := fuzzImages(f)
	f.Add(uint8(0), []byte{0, 47, 1})
	f.Add(uint8(1), []byte{1, 3, 9})
	f.Add(uint8(4), []byte{0, 100, 1, 1, 0, 255})
	f.Fuzz(func(t *testing.T, which uint8, changes []byte) {
		d := bytes.Clone(images[int(which)%len(images)])
		for ; len(changes) >= 3; changes = changes[3:] {
			d[int(binary.BigEndian.Uint16(changes))%len(d)] ^= changes[2]
		}
		mosaic.RepairChecksums(d)
		useAny(t, d)
	})
}

// fuzzImages returns images of no objects, of some by each method, and with erased ones.
func fuzzImages(f *testing.F) []device {
	objects := contents(7)
	erased := newImage(f, mosaic.Format{Zstd: true}, objects)
	if _, err := (mosaic.Format{}).Erase(f.Context(), erased, int64(len(erased)), "fuzz", 1, formattest.IDs(objects[2:4])); err != nil {
		f.Fatal(err)
	}
	return []device{
		newImage(f, mosaic.Format{}, nil), newImage(f, mosaic.Format{}, objects[:5]), newImage(f, mosaic.Format{Zstd: true}, objects),
		erased, python(f, "40-zstd3-one-deleted"), python(f, "40-dict"),
	}
}

// useAny does all that can be done with an image, which may be damaged. Nothing
// may panic; every error is about damage; what Verify has passed is there and can be erased.
func useAny(t *testing.T, image []byte) {
	d := device(bytes.Clone(image))
	size := int64(len(image))
	r, err := mosaic.Open(d, size, "fuzzed")
	if err != nil {
		wantDamage(t, err)
		return
	}
	var ids []format.ObjID
	for id, err := range r.Keys(t.Context()) {
		if err != nil {
			wantDamage(t, err)
			break
		}
		ids = append(ids, id)
	}
	counts, verifyErr := r.Verify(t.Context(), nil)
	if verifyErr != nil {
		wantDamage(t, verifyErr)
	}
	sound := map[format.ObjID]bool{}
	for _, id := range append(ids, formattest.ID([]byte("absent"))) {
		content, err := r.Get(id)
		if sound[id] = err == nil && formattest.ID(content) == id; err != nil && !errors.Is(err, format.ErrNotFound) {
			wantDamage(t, err)
		}
		if verifyErr == nil && !sound[id] && err == nil {
			t.Errorf("object %x is wrong, but Verify had nothing to say", id)
		}
	}
	eraseHalf(t, image, ids, sound)
	erased, err := mosaic.Format{}.Erase(t.Context(), d, size, "fuzzed", 1, ids)
	if err != nil {
		wantDamage(t, err)
	}
	if verifyErr != nil || t.Failed() {
		return
	}
	if err != nil || erased != len(ids) || int64(erased) != counts.Objects {
		t.Fatalf("erased %d of %d, %v", erased, len(ids), err)
	}
	holds(t, d, nil, counts.Objects+counts.Deleted)
}

// eraseHalf erases every other object: no other one may suffer, and where that is
// refused nothing was written.
func eraseHalf(t *testing.T, image []byte, ids []format.ObjID, sound map[format.ObjID]bool) {
	t.Helper()
	d := device(bytes.Clone(image))
	var half, rest []format.ObjID
	for i, id := range ids {
		if i%2 == 0 {
			half = append(half, id)
		} else if sound[id] {
			rest = append(rest, id)
		}
	}
	if _, err := (mosaic.Format{}).Erase(t.Context(), d, int64(len(d)), "fuzzed", 1, half); err != nil {
		wantDamage(t, err)
		if !bytes.Equal(d, image) {
			t.Fatalf("the image was changed, and then: %v", err)
		}
		return
	}
	r := open(t, d)
	for _, id := range half {
		if _, err := r.Get(id); !errors.Is(err, format.ErrNotFound) {
			t.Fatalf("erased object %x: %v", id, err)
		}
	}
	for _, id := range rest {
		if content, err := r.Get(id); err != nil || formattest.ID(content) != id {
			t.Fatalf("object %x suffered: %v", id, err)
		}
	}
}
