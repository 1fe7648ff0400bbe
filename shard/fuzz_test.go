// SPDX-License-Identifier: GPL-3.0-or-later

package shard_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"runtime/metrics"
	"sync/atomic"
	"testing"

	"winery/format"
	"winery/format/formattest"
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
	if _, err := swhshard.Erase(f.Context(), erased, int64(len(erased)), "fuzz", 1, formattest.IDs(objects[2:4])); err != nil {
		f.Fatal(err)
	}
	return []device{newImage(f, nil), newImage(f, objects[:5]), erased}
}

// useAny does all that can be done with an image, which may be damaged. Nothing
// may panic, read or allocate more than the image's size explains; every error is about
// damage; what Verify has passed is there and can be erased.
func useAny(t *testing.T, image []byte) {
	d := &metered{device: bytes.Clone(image)}
	size := int64(len(image))
	r, err := shard.Open(d, size, "fuzzed")
	d.wantAtMost(t, "Open", size)
	if err != nil {
		mustBeDamage(t, err)
		return
	}
	var ids []format.ObjID
	for id, err := range r.Keys(context.Background()) {
		if err != nil {
			mustBeDamage(t, err)
			break
		}
		ids = append(ids, id)
	}
	d.wantAtMost(t, "Keys", size)
	counts, verifyErr := r.Verify(context.Background(), nil)
	d.wantAtMost(t, "Verify", size)
	if verifyErr != nil {
		mustBeDamage(t, verifyErr)
	}
	if err := sample(r, 3); err != nil {
		mustBeDamage(t, err)
	}
	d.wantAtMost(t, "Check", 3*size+40*r.Layout().IndexSlots)
	sound := readSound(t, d, r, append(ids, formattest.ID([]byte("absent"))))
	if verifyErr == nil && len(sound) != len(ids) {
		t.Fatalf("%d of %d objects can be read, but Verify had nothing to say", len(sound), len(ids))
	}
	eraseHalf(t, image, ids, sound)
	erased, err := swhshard.Erase(t.Context(), d, size, "fuzzed", 1, ids)
	if err != nil {
		mustBeDamage(t, err)
	}
	if verifyErr != nil {
		return
	}
	if err != nil || erased != len(ids) || int64(erased) != counts.Objects {
		t.Fatalf("erased %d of %d, %v", erased, len(ids), err)
	}
	holds(t, d.device, nil, counts.Objects+counts.Deleted)
}

// readSound gets each of ids, and returns those that come with the right bytes.
func readSound(t *testing.T, d *metered, r *shard.Reader, ids []format.ObjID) (sound map[format.ObjID]bool) {
	t.Helper()
	sound = map[format.ObjID]bool{}
	for _, id := range ids {
		content, err := r.Get(id)
		d.wantAtMost(t, "Get", int64(len(d.device))+40)
		switch {
		case err == nil && formattest.ID(content) == id:
			sound[id] = true
		case err == nil: // it is for the caller to look
		case !errors.Is(err, format.ErrNotFound):
			mustBeDamage(t, err)
		}
	}
	return sound
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
	if _, err := swhshard.Erase(t.Context(), d, int64(len(d)), "fuzzed", 1, half); err != nil {
		mustBeDamage(t, err)
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

// metered counts what is read from an image and what is allocated meanwhile.
type metered struct {
	device
	read      atomic.Int64
	allocated uint64
}

func (m *metered) ReadAt(p []byte, at int64) (int, error) {
	m.read.Add(int64(len(p)))
	return m.device.ReadAt(p, at)
}

// wantAtMost fails the test if more was read, or far more allocated, since it
// was called last. Small objects are counted late, and so with those of others.
func (m *metered) wantAtMost(t *testing.T, what string, limit int64) {
	t.Helper()
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	allocated := sample[0].Value.Uint64() - m.allocated
	if read := m.read.Swap(0); read > limit || m.allocated > 0 && allocated > uint64(2*limit+4<<20) {
		t.Fatalf("%s read %d bytes and allocated %d; the image has %d", what, read, allocated, len(m.device))
	}
	m.allocated += allocated
}

func mustBeDamage(t *testing.T, err error) {
	t.Helper()
	var damage *format.DamageError
	if !errors.As(err, &damage) {
		t.Fatalf("not a DamageError: %v", err)
	}
}
