// SPDX-License-Identifier: GPL-3.0-or-later

package shard_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"testing"

	"winery/shard"
)

// FuzzOpen takes any bytes for an image.
func FuzzOpen(f *testing.F) {
	for _, image := range fuzzImages(f) {
		f.Add([]byte(image))
	}
	f.Fuzz(func(t *testing.T, image []byte) { useAny(t, image) })
}

// FuzzDamage takes an image and damages it: three bytes of changes are a place
// and what to flip there.
func FuzzDamage(f *testing.F) {
	images := fuzzImages(f)
	f.Add(uint8(0), []byte{0, 47, 1})
	f.Add(uint8(1), []byte{2, 3, 9})
	f.Add(uint8(2), []byte{2, 100, 1, 3, 0, 255})
	f.Fuzz(func(t *testing.T, which uint8, changes []byte) {
		d := bytes.Clone(images[int(which)%len(images)])
		for ; len(changes) >= 3; changes = changes[3:] {
			d[int(binary.BigEndian.Uint16(changes))%len(d)] ^= changes[2]
		}
		useAny(t, d)
	})
}

// fuzzImages returns images of no objects, of five, and of five with two erased.
func fuzzImages(f *testing.F) []device {
	objects := make([][]byte, 7)
	for i := range objects {
		objects[i] = content(i)[:min(i, 5)]
	}
	erased := newImage(f, objects)
	if _, err := shard.Erase(erased, int64(len(erased)), "fuzz", idsOf(objects[2:4])); err != nil {
		f.Fatal(err)
	}
	return []device{newImage(f, nil), newImage(f, objects[:5]), erased}
}

// useAny does all that can be done with an image, which may be damaged. Nothing
// may panic, every error is about damage, and what Verify has passed is there
// and can be erased.
func useAny(t *testing.T, d device) {
	d = bytes.Clone(d)
	r, err := shard.Open(d, int64(len(d)), "fuzzed")
	if err != nil {
		mustBeDamage(t, err)
		return
	}
	var ids []shard.ObjID
	for id, err := range r.Keys(context.Background()) {
		if err != nil {
			mustBeDamage(t, err)
			break
		}
		ids = append(ids, id)
	}
	counts, verifyErr := r.Verify(context.Background(), nil)
	if verifyErr != nil {
		mustBeDamage(t, verifyErr)
	}
	if err := r.Sample(context.Background(), 3); err != nil {
		mustBeDamage(t, err)
	}
	for _, id := range append(ids, idOf([]byte("absent"))) {
		content, err := r.Get(id)
		if err != nil && !errors.Is(err, shard.ErrNotFound) {
			mustBeDamage(t, err)
		}
		if verifyErr == nil && err == nil && idOf(content) != id {
			t.Fatalf("Get(%x) returned %d other bytes", id, len(content))
		}
	}
	erased, err := shard.Erase(d, int64(len(d)), "fuzzed", ids)
	if err != nil {
		mustBeDamage(t, err)
	}
	if verifyErr != nil {
		return
	}
	if err != nil || erased != len(ids) || int64(erased) != counts.Objects {
		t.Fatalf("erased %d of %d, %v", erased, len(ids), err)
	}
	holds(t, d, nil, counts.Objects+counts.Deleted)
}

func mustBeDamage(t *testing.T, err error) {
	t.Helper()
	var damage *shard.DamageError
	if !errors.As(err, &damage) {
		t.Fatalf("not a DamageError: %v", err)
	}
}
