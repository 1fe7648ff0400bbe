// SPDX-License-Identifier: GPL-3.0-or-later

package shard_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"winery/format"
	"winery/format/formattest"
	"winery/shard"
)

// inspect returns the objects that Inspect reports, the zero id for damage that
// belongs to no object.
func inspect(t *testing.T, d device) (blamed []format.ObjID, counts format.Counts) {
	t.Helper()
	counts, err := open(t, d).Inspect(t.Context(), nil, func(x format.Damage) error {
		blamed = append(blamed, x.ID)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return blamed, counts
}

// flip returns a copy of an image with bits changed.
func flip(d device, at ...int64) device {
	d = bytes.Clone(d)
	for _, at := range at {
		d[at] ^= 0x40
	}
	return d
}

func at(t *testing.T, d device, o []byte) (entry, position int64) {
	t.Helper()
	entry, _ = open(t, d).EntryRange(formattest.ID(o))
	return entry, int64(binary.BigEndian.Uint64(d[entry+32:]))
}

// Each damage is one object's, and none of its neighbours'.
func TestInspect(t *testing.T) {
	objects := contents(3000)
	image := newImage(t, objects)
	entry, position := at(t, image, objects[1500])
	_, other := at(t, image, objects[2500])
	own, none := formattest.ID(objects[1500]), format.ObjID{}
	moved := bytes.Clone(image)
	put(moved, entry+32, uint64(other))
	inside := bytes.Clone(image)
	put(inside, entry+32, uint64(other+11))
	gone := bytes.Clone(image)
	copy(gone[entry:], append(make([]byte, 32), bytes.Repeat([]byte{0xff}, 8)...))
	for name, test := range map[string]struct {
		image  device
		blamed []format.ObjID
	}{
		"nothing":             {image, nil},
		"content":             {flip(image, position+8), []format.ObjID{own}},
		"length":              {flip(image, position+7), []format.ObjID{own}},
		"huge length":         {flip(image, position+1), []format.ObjID{own}},
		"key":                 {flip(image, entry), []format.ObjID{none}},
		"position of another": {moved, []format.ObjID{own}},
		"position in another": {inside, []format.ObjID{own}},
		"huge position":       {flip(image, entry+33), []format.ObjID{none}},
		"entry gone":          {gone, []format.ObjID{none}},
		"two objects":         {flip(image, position+8, other+8), []format.ObjID{own, formattest.ID(objects[2500])}},
	} {
		blamed, counts := inspect(t, test.image)
		if len(blamed) == 2 && blamed[0] != own { // they are read concurrently
			slices.Reverse(blamed)
		}
		if !slices.Equal(blamed, test.blamed) {
			t.Errorf("%s: blamed %x, expected %x", name, blamed, test.blamed)
		}
		wrong := len(test.blamed)
		if counts.Objects != int64(len(objects)-wrong) {
			t.Errorf("%s: %d objects are well", name, counts.Objects)
		}
	}
	stop := errors.New("stop")
	if _, err := open(t, flip(image, position+8)).Inspect(t.Context(), nil, func(format.Damage) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("stopped with %v", err)
	}
}

// TestPickReadsInBlocks: where few objects are left, or none, the index is not
// read entry by entry.
func TestPickReadsInBlocks(t *testing.T) {
	objects := contents(20_000)
	for i := range objects {
		objects[i] = objects[i][:min(len(objects[i]), 16)]
	}
	image := newImage(t, objects)
	for _, left := range []int{len(objects), 1, 0} {
		erase(t, image, formattest.IDs(objects[left:])...)
		counted := &counting{ReaderAt: image}
		r, err := shard.Open(counted, int64(len(image)), "test")
		if err != nil {
			t.Fatal(err)
		}
		counted.reads = 0
		if ids, err := r.Pick(t.Context(), 10); err != nil || len(ids) != min(10, left) {
			t.Errorf("of %d objects %d were picked, %v", left, len(ids), err)
		}
		if counted.reads > 60 {
			t.Errorf("with %d objects left the index was read in %d pieces", left, counted.reads)
		}
	}
}

func TestRestore(t *testing.T) {
	objects := contents(300)
	image := newImage(t, objects)
	size := int64(len(image))
	restore := func(d, from device, i ...int) (int, error) {
		var ids []format.ObjID
		for _, i := range i {
			ids = append(ids, formattest.ID(objects[i]))
		}
		return open(t, from).RestoreTo(t.Context(), d, size, "test", ids)
	}
	entry, position := at(t, image, objects[5])
	for name, damaged := range map[string]device{
		"content":       flip(image, position+9),
		"length":        flip(image, position),
		"key":           flip(image, entry+3),
		"position":      flip(image, entry+38),
		"huge position": flip(image, entry+32),
		"nothing":       bytes.Clone(image),
	} {
		if n, err := restore(damaged, image, 5); n != 1 || err != nil || !bytes.Equal(damaged, image) {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
	damaged := flip(image, position+9)
	refused := bytes.Clone(damaged)
	if n, err := restore(damaged, flip(image, position+8), 5); n != 0 || err != nil || !bytes.Equal(damaged, refused) {
		t.Errorf("a damaged copy: %d, %v", n, err)
	}
	other := bytes.Clone(image) // two objects change places
	entry2, position2 := at(t, image, objects[6])
	put(other, entry+32, uint64(position2))
	put(other, entry2+32, uint64(position))
	if n, err := restore(damaged, other, 5); n != 0 || !errors.Is(err, format.ErrLayout) || !bytes.Equal(damaged, refused) {
		t.Errorf("another layout: %d, %v", n, err)
	}
	if n, err := restore(damaged, newImage(t, contents(299)), 5); n != 0 || !errors.Is(err, format.ErrLayout) {
		t.Errorf("another image: %d, %v", n, err)
	}
	// What was erased in either stays so.
	erase(t, damaged, formattest.ID(objects[8]))
	copied := bytes.Clone(image)
	erase(t, copied, formattest.ID(objects[9]))
	if n, err := restore(damaged, copied, 5); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := open(t, damaged).Verify(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if _, err := open(t, damaged).Get(formattest.ID(objects[8])); !errors.Is(err, format.ErrNotFound) {
		t.Errorf("an erased object: %v", err)
	}

	head := flip(image, 45, int64(open(t, image).Layout().HashPosition)+30)
	if err := open(t, image).RestoreHeadTo(t.Context(), head); err != nil || !bytes.Equal(head, image) {
		t.Errorf("the head: %v", err)
	}
}

// unreadable is a device of which some bytes cannot be read.
type unreadable struct {
	device
	from, to int64
}

var errMedium = errors.New("medium error")

func (u unreadable) ReadAt(p []byte, at int64) (int, error) {
	if at < u.to && at+int64(len(p)) > u.from {
		return 0, errMedium
	}
	return u.device.ReadAt(p, at)
}

// A copy that cannot be read is not taken for one that lacks the object.
func TestRestoreFromUnreadable(t *testing.T) {
	objects := contents(300)
	image := newImage(t, objects)
	entry, position := at(t, image, objects[5])
	damaged := flip(image, position+9)
	before := bytes.Clone(damaged)
	for what, at := range map[string]int64{"entry": entry, "object": position + 9} {
		from, err := shard.Open(unreadable{image, at, at + 1}, int64(len(image)), "test")
		if err != nil {
			t.Fatal(err)
		}
		n, err := from.RestoreTo(t.Context(), damaged, int64(len(image)), "test", formattest.IDs(objects[5:6]))
		if n != 0 || !errors.Is(err, errMedium) || !bytes.Equal(damaged, before) {
			t.Errorf("%s: restored %d, %v", what, n, err)
		}
	}
}
