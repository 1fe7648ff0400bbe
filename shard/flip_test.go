// SPDX-License-Identifier: GPL-3.0-or-later

package shard_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"winery/format"
	"winery/format/formattest"
	"winery/shard"
	"winery/test/corrupt"
)

// flipObjects are 40 small objects, the first empty.
func flipObjects() [][]byte {
	objects := contents(40)
	for i := range objects {
		objects[i] = objects[i][:min(len(objects[i]), 16+i)]
	}
	return objects
}

// Whichever bit of an image flips, Verify fails or nothing was lost, and
// erasing an object takes that object and no other, or does nothing. These
// bits mean nothing: the zeros behind the header's fields, what fills up the
// tables of the hash function to whole words, and most of an index slot that no
// object has, since a slot is free by the first byte of its position.
func TestEveryBit(t *testing.T) {
	random := corrupt.Random(t)
	objects := flipObjects()
	image := newImage(t, objects)
	info := open(t, image).Layout()
	owner, content := owners(image, objects)
	unseen := 0
	for bit := range 8 * info.Size {
		at := bit / 8
		if content[at] && random.IntN(16) > 0 {
			continue
		}
		d := bytes.Clone(image)
		d[at] ^= 1 << (bit % 8)
		victim, owned := owner[at]
		if !owned {
			victim = random.IntN(len(objects))
		}
		if check(t, d, objects[victim:victim+1]) == nil {
			_ = check(t, d, objects)
			switch {
			case at >= info.HashPosition:
				unseen++
			case at >= 88 && at < 512, at >= info.IndexPosition && !owned && (at-info.IndexPosition)%40 != 32:
			default:
				t.Fatalf("bit %d of byte %d went unseen", bit%8, at)
			}
		}
		if owned && at < info.IndexPosition || random.IntN(8) == 0 {
			eraseDamaged(t, image, d, objects, victim)
		}
		if t.Failed() {
			t.Fatalf("with bit %d of byte %d flipped; %+v", bit%8, at, info)
		}
	}
	if unseen > 200 {
		t.Fatalf("%d flips in the hash function went unseen", unseen)
	}
	t.Logf("%d flips in the hash function went unseen", unseen)
}

// owners says which object each byte belongs to, in the index and among the
// objects, and which bytes are contents.
func owners(image device, objects [][]byte) (owner map[int64]int, content map[int64]bool) {
	owner, content = map[int64]int{}, map[int64]bool{}
	for i, o := range objects {
		entry := entryOf(image, o)
		position := positionOf(image, o)
		for at := range int64(40) {
			owner[entry+at] = i
		}
		for at := position; at < position+8+int64(len(o)); at++ {
			owner[at], content[at] = i, at >= position+8
		}
	}
	return owner, content
}

// positionOf returns the place of an object's length.
func positionOf(image device, o []byte) int64 {
	return int64(binary.BigEndian.Uint64(image[entryOf(image, o)+32:]))
}

// eraseDamaged erases an object in a damaged image, then checks all the others,
// and the place where the object's bytes were before the damage.
func eraseDamaged(t *testing.T, image, d device, objects [][]byte, victim int) {
	t.Helper()
	sound := map[int]bool{}
	if r, err := shard.Open(d, int64(len(d)), "damaged"); err == nil {
		for i, o := range objects {
			got, err := r.Get(formattest.ID(o))
			sound[i] = err == nil && bytes.Equal(got, o)
		}
	}
	before := bytes.Clone(d)
	n, err := swhshard.Erase(t.Context(), d, int64(len(d)), "damaged", 1, formattest.IDs(objects[victim:victim+1]))
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
	at := positionOf(image, objects[victim])
	if rest := d[at : at+8+int64(len(objects[victim]))]; len(bytes.Trim(rest, "\x00")) > 0 {
		t.Errorf("erased object %d is still in the image: %x", victim, rest)
	}
}
