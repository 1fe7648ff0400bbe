// SPDX-License-Identifier: GPL-3.0-or-later

package shard_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"runtime"
	"testing"

	"winery/format"
	"winery/format/formattest"
	"winery/shard"
	"winery/test/corrupt"
)

// check runs Open, Get of each object, Keys, Check and Verify over an image that may
// be damaged. It fails the test where Verify is content and an object is not
// as it was, and returns Verify's error.
func check(t *testing.T, d device, objects [][]byte) error {
	t.Helper()
	r, err := shard.Open(d, int64(len(d)), "damaged")
	if err != nil {
		return err
	}
	_, verifyErr := r.Verify(context.Background(), nil)
	_ = sample(r, 5)
	for _, err := range r.Keys(context.Background()) {
		if err != nil && verifyErr == nil {
			t.Fatalf("Keys: %v, but Verify had nothing to say", err)
		}
	}
	for i, o := range objects {
		got, err := r.Get(formattest.ID(o))
		if verifyErr == nil && (err != nil || !bytes.Equal(got, o)) {
			t.Fatalf("object %d: %d bytes instead of %d, %v, but Verify had nothing to say", i, len(got), len(o), err)
		}
	}
	return verifyErr
}

func put(d device, at int64, v uint64) { binary.BigEndian.PutUint64(d[at:], v) }

func TestDamage(t *testing.T) {
	objects := contents(40)
	image := newImage(t, objects)
	info := open(t, image).Layout()
	first := firstEntry(image, info)
	position := int64(binary.BigEndian.Uint64(image[first+32:]))

	type damage struct {
		name   string
		offset int64 // that the error names; -1: any
		do     func(d device)
	}
	damages := []damage{
		{"magic", 0, func(d device) { d[3] = 'x' }},
		{"after the magic", 0, func(d device) { d[31] = 1 }},
		{"version", 32, func(d device) { put(d, 32, 2) }},
		{"key", first, func(d device) { d[first+5] ^= 4 }},
		{"no key", first, func(d device) { clear(d[first : first+32]) }},
		{"position in the header", first + 32, func(d device) { put(d, first+32, 511) }},
		{"position in the index", first + 32, func(d device) { put(d, first+32, uint64(info.IndexPosition)) }},
		{"position of another", -1, func(d device) { copy(d[first+32:first+40], d[nextEntry(image, first)+32:]) }},
		{"position in another", -1, func(d device) { put(d, first+32, uint64(position+9)) }},
		{"length one less", position, func(d device) { put(d, position, binary.BigEndian.Uint64(d[position:])-1) }},
		{"length to the end", -1, func(d device) { put(d, position, uint64(info.IndexPosition-position-8)) }},
		{"length beyond", position, func(d device) { put(d, position, uint64(info.IndexPosition-position-7)) }},
		{"content", position, func(d device) { d[position+8] ^= 1 }},
		{"entry gone", -1, func(d device) {
			copy(d[first:], bytes.Repeat([]byte{0}, 32))
			put(d, first+32, math.MaxUint64)
		}},
	}
	for at := int64(32); at < 88; at += 8 {
		for _, v := range []uint64{0, 1, 511, 1 << 20, 1 << 40, math.MaxInt64 - 7, math.MaxInt64, math.MaxUint64} {
			if v != binary.BigEndian.Uint64(image[at:]) {
				damages = append(damages, damage{"header field", -1, func(d device) { put(d, at, v) }})
			}
		}
	}
	for _, v := range []uint64{1 << 32, math.MaxInt64, math.MaxUint64 - 8, math.MaxUint64} {
		damages = append(damages,
			damage{"huge length", position, func(d device) { put(d, position, v) }},
			damage{"huge position", -1, func(d device) { put(d, first+32, v) }})
	}
	for at := info.HashPosition; at < info.Size; at++ {
		damages = append(damages, damage{"hash function", -1, func(d device) { d[at] ^= 0x55 }})
	}
	for _, x := range damages {
		t.Run(x.name, func(t *testing.T) {
			d := bytes.Clone(image)
			x.do(d)
			err := check(t, d, objects)
			if err == nil && x.name == "hash function" {
				return // padding: all objects are as they were
			}
			var damage *format.DamageError
			if !errors.As(err, &damage) {
				t.Fatalf("got %v", err)
			}
			if damage.Image != "damaged" && damage.Image != "test" || x.offset >= 0 && damage.Offset != x.offset {
				t.Fatalf("expected byte %d, got %v", x.offset, err)
			}
		})
	}
}

func firstEntry(d device, info shard.Layout) int64 { return nextEntry(d, info.IndexPosition-40) }

// nextEntry returns the place of the next used entry of more than 16 bytes.
func nextEntry(d device, at int64) int64 {
	for at += 40; ; at += 40 {
		if p := binary.BigEndian.Uint64(d[at+32:]); p != math.MaxUint64 && binary.BigEndian.Uint64(d[p:]) > 16 {
			return at
		}
	}
}

// An image that was cut off at any byte does not open, however large its device
// is said to be.
func TestTruncated(t *testing.T) {
	image := newImage(t, contents(10))
	for n := range image {
		for _, size := range []int{n, len(image)} {
			if _, err := shard.Open(image[:n], int64(size), "short"); !errors.As(err, new(*format.DamageError)) {
				t.Fatalf("with %d bytes of %d: %v", n, len(image), err)
			}
		}
	}
}

// An image that is cut off once it is open gives the right bytes, or an error.
func TestTruncatedWhileOpen(t *testing.T) {
	objects := flipObjects()
	image := newImage(t, objects)
	src := &cutShort{image, len(image)}
	r, err := shard.Open(src, int64(len(image)), "short")
	if err != nil {
		t.Fatal(err)
	}
	for src.end = 0; src.end < int(r.Layout().HashPosition); src.end += 5 {
		if _, err := r.Verify(t.Context(), nil); !errors.As(err, new(*format.DamageError)) {
			t.Fatalf("with %d bytes of %d: %v", src.end, len(image), err)
		}
		for i, o := range objects {
			got, err := r.Get(formattest.ID(o))
			if err == nil && !bytes.Equal(got, o) || err != nil && !errors.As(err, new(*format.DamageError)) {
				t.Fatalf("with %d bytes of %d, object %d: %d bytes, %v", src.end, len(image), i, len(got), err)
			}
		}
	}
}

type cutShort struct {
	device
	end int
}

func (c *cutShort) ReadAt(p []byte, at int64) (int, error) {
	return c.device[:c.end].ReadAt(p, at)
}

// Some random flips at once.
func TestRandomDamage(t *testing.T) {
	objects := contents(60)
	image := newImage(t, objects)
	random := corrupt.Random(t)
	for range 2000 {
		d := bytes.Clone(image)
		for range 1 + random.IntN(4) {
			at := random.IntN(len(d))
			if random.IntN(2) == 0 { // most of the image is content: aim at the rest
				at = random.IntN(88)
			}
			d[at] ^= byte(1 + random.IntN(255))
		}
		_ = check(t, d, objects)
	}
}

// A length may lie within a huge image, and still be wrong: Get must not
// allocate what it says.
func TestHugeLengthIsNotBelieved(t *testing.T) {
	objects := contents(10)
	image := newImage(t, objects)
	info := open(t, image).Layout()
	// Move index and hash function, to make room for a false entry.
	const room = 1 << 30
	moved := moving{header: bytes.Clone(image[:info.IndexPosition]), tail: image[info.IndexPosition:], at: info.IndexPosition + room}
	put(moved.header, 56, uint64(info.ObjectsSize+room))
	put(moved.header, 64, uint64(info.IndexPosition+room))
	put(moved.header, 80, uint64(info.HashPosition+room))
	put(moved.header, 512, 1<<29)

	r, err := shard.Open(moved, info.Size+room, "moved")
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var damage *format.DamageError
	if _, err := r.Get(formattest.ID(objects[0])); !errors.As(err, &damage) {
		t.Fatalf("got %v", err)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 8<<20 {
		t.Fatalf("allocated %d bytes", n)
	}
	if got, err := r.Get(formattest.ID(objects[1])); err != nil || !bytes.Equal(got, objects[1]) {
		t.Fatalf("the next object: %v", err)
	}
}

// moving is an image with zeros between its objects and its index.
type moving struct {
	header, tail device
	at           int64
}

func (m moving) ReadAt(p []byte, at int64) (int, error) {
	clear(p)
	if at < int64(len(m.header)) {
		copy(p, m.header[at:])
	} else if at >= m.at {
		return m.tail.ReadAt(p, at-m.at)
	}
	return len(p), nil
}
