// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"winery/format"
	"winery/format/formattest"
	"winery/mosaic"
	"winery/test/expect"
)

// flip returns a copy of an image with bits changed.
func flip(d device, at ...int64) device {
	d = bytes.Clone(d)
	for _, at := range at {
		d[at] ^= 0x40
	}
	return d
}

// Each damage is one object's, and none of its neighbours'.
func TestInspect(t *testing.T) {
	objects := contents(3000)
	image := newImage(t, mosaic.Format{}, objects)
	entry, entryEnd := open(t, image).EntryRange(formattest.ID(objects[1500]))
	other, otherEnd := open(t, image).EntryRange(formattest.ID(objects[2500]))
	position, _ := elementOf(t, image, objects[1500])
	position2, _ := elementOf(t, image, objects[2500])
	_, tiles, _, _, _ := open(t, image).Parts()
	own, none := formattest.ID(objects[1500]), format.ObjID{}
	moved := bytes.Clone(image)
	copy(moved[entry+36:entryEnd], moved[other+36:otherEnd])
	inside := bytes.Clone(moved)
	inside[entryEnd-1] += 11
	gone := bytes.Clone(image)
	gone[entry] = 0xec
	for name, test := range map[string]struct {
		image  device
		blamed []format.ObjID
	}{
		"nothing":             {image, nil},
		"content":             {flip(image, position+8), []format.ObjID{own}},
		"size":                {flip(image, position+2), []format.ObjID{own}},
		"huge size":           {flip(image, position+1), []format.ObjID{own}},
		"type":                {flip(image, position), []format.ObjID{own}},
		"key":                 {flip(image, entry+2), []format.ObjID{none}},
		"offset of another":   {moved, []format.ObjID{own}},
		"offset in another":   {inside, []format.ObjID{own}},
		"huge offset":         {flip(image, entry+36), []format.ObjID{none}},
		"entry gone":          {gone, []format.ObjID{none}},
		"two objects":         {flip(image, position+8, position2+8), []format.ObjID{own, formattest.ID(objects[2500])}},
		"sum of a tile":       {flip(image, tiles+10), []format.ObjID{none}},
		"head of a tile":      {flip(image, tiles+1), []format.ObjID{none}},
		"head and an object ": {flip(image, tiles+1, position+8), []format.ObjID{own}},
	} {
		var blamed []format.ObjID
		counts, err := open(t, test.image).Inspect(t.Context(), nil, func(x format.Damage) error {
			blamed = append(blamed, x.ID)
			return nil
		})
		expect.NoError(t, err)
		if len(blamed) == 2 && blamed[0] != own { // they are read concurrently
			slices.Reverse(blamed)
		}
		if !slices.Equal(blamed, test.blamed) {
			t.Errorf("%s: blamed %x, expected %x", name, blamed, test.blamed)
		}
		wrong := 0
		for _, id := range test.blamed {
			if id != none || name == "key" || name == "huge offset" || name == "entry gone" {
				wrong++
			}
		}
		if counts.Objects != int64(len(objects)-wrong) {
			t.Errorf("%s: %d objects are intact", name, counts.Objects)
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
	objects := make([][]byte, 20_000)
	for i := range objects {
		objects[i] = []byte{byte(i), byte(i >> 8)}
	}
	image := newImage(t, mosaic.Format{}, objects)
	for _, left := range []int{len(objects), 1, 0} {
		erase(t, image, objects[left:])
		counted := &counting{ReaderAt: image}
		r, err := mosaic.Open(counted, int64(len(image)), "test")
		expect.NoError(t, err)
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
	image := newImage(t, mosaic.Format{Zstd: true}, objects)
	size := int64(len(image))
	restore := func(d, from device, i ...int) (int, error) {
		var ids []format.ObjID
		for _, i := range i {
			ids = append(ids, formattest.ID(objects[i]))
		}
		return open(t, from).RestoreTo(t.Context(), d, size, "test", ids)
	}
	entry, entryEnd := open(t, image).EntryRange(formattest.ID(objects[5]))
	position, _ := elementOf(t, image, objects[5])
	for name, damaged := range map[string]device{
		"content":     flip(image, position+9),
		"size":        flip(image, position+1),
		"type":        flip(image, position),
		"key":         flip(image, entry+3),
		"offset":      flip(image, entryEnd-1),
		"huge offset": flip(image, entryEnd-2),
		"nothing":     bytes.Clone(image),
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
	entry2, entry2End := open(t, image).EntryRange(formattest.ID(objects[6]))
	copy(other[entry+36:entryEnd], image[entry2+36:entry2End])
	copy(other[entry2+36:entry2End], image[entry+36:entryEnd])
	if n, err := restore(damaged, other, 5); n != 0 || !errors.Is(err, format.ErrLayout) || !bytes.Equal(damaged, refused) {
		t.Errorf("another layout: %d, %v", n, err)
	}
	if n, err := restore(damaged, newImage(t, mosaic.Format{Zstd: true}, contents(299)), 5); n != 0 || !errors.Is(err, format.ErrLayout) {
		t.Errorf("another image: %d, %v", n, err)
	}
	// What was erased in either stays so.
	erase(t, damaged, objects[8:9])
	copied := bytes.Clone(image)
	erase(t, copied, objects[9:10])
	if n, err := restore(damaged, copied, 5); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := open(t, damaged).Verify(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if _, err := open(t, damaged).Get(formattest.ID(objects[8])); !errors.Is(err, format.ErrNotFound) {
		t.Errorf("an erased object: %v", err)
	}
}

// TestRestoreHead: the head of a copy with other erasures leaves each as it was.
func TestRestoreHead(t *testing.T) {
	objects := contents(100)
	image := newImage(t, mosaic.Format{}, objects)
	metadata, _, index, _, tail := open(t, image).Parts()
	head := flip(image, 3, metadata+12, index+7, tail+20)
	if err := open(t, image).RestoreHeadTo(t.Context(), head); err != nil || !bytes.Equal(head, image) {
		t.Errorf("the same copy: %v", err)
	}
	erased := bytes.Clone(image)
	erase(t, erased, objects[5:10])
	for what, from := range map[string]device{"before": image, "after": erased} {
		damaged := flip(erased, 3, metadata+12, tail+20)
		left := int64(5)
		want := append(objects[:5:5], objects[10:]...)
		if what == "after" {
			damaged, left, want = flip(image, 3, metadata+12), 0, objects
		}
		expect.NoError(t, open(t, from).RestoreHeadTo(t.Context(), damaged))
		holds(t, damaged, want, left)
		erase(t, damaged, nil) // counts again
		holds(t, damaged, want, left)
		if info := open(t, damaged).Info(); info.ContentSize != size(want) {
			t.Errorf("%s: %+v", what, info)
		}
	}
}

func size(objects [][]byte) (n int64) {
	for _, o := range objects {
		n += int64(len(o))
	}
	return n
}

// unreadable is a device of which some bytes cannot be read.
type unreadable struct {
	device
	from, to int64
}

func (u *unreadable) ReadAt(p []byte, at int64) (int, error) {
	if at < u.to && at+int64(len(p)) > u.from {
		return 0, errMedium
	}
	return u.device.ReadAt(p, at)
}

// A copy that cannot be read is not taken for one that lacks the object.
func TestRestoreFromUnreadable(t *testing.T) {
	objects := contents(300)
	for name, f := range formats {
		image := newImage(t, f, objects)
		entry, _ := open(t, image).EntryRange(formattest.ID(objects[5]))
		position, _ := elementOf(t, image, objects[5])
		damaged := flip(image, position+9)
		before := bytes.Clone(damaged)
		for what, at := range map[string]int64{"entry": entry, "object": position + 9} {
			src := &unreadable{device: image}
			from, err := mosaic.Open(src, int64(len(image)), "test")
			expect.NoError(t, err)
			src.from, src.to = at, at+1
			n, err := from.RestoreTo(t.Context(), damaged, int64(len(image)), "test", formattest.IDs(objects[5:6]))
			if n != 0 || !errors.Is(err, errMedium) || !bytes.Equal(damaged, before) {
				t.Errorf("%s, %s: restored %d, %v", name, what, n, err)
			}
		}
	}
}

// TestRestoreContentElsewhere restores objects into images of swh.mosaic: where the
// frame fits, the object is there again, and else nothing was written.
func TestRestoreContentElsewhere(t *testing.T) {
	objects := pythons(40)
	for _, name := range []string{"40-none", "40-zstd3", "40-dict"} {
		restored := 0
		for i, o := range objects {
			d := python(t, name)
			_, end := elementOf(t, d, o)
			d[end-1] ^= 1
			before := bytes.Clone(d)
			err := mosaic.Format{Zstd: true}.RestoreContent(t.Context(), d, int64(len(d)), "test", o)
			switch {
			case err == nil:
				holds(t, d, objects, 0)
				restored++
			case !errors.Is(err, format.ErrLayout) && !errors.As(err, new(*format.DamageError)) || !bytes.Equal(d, before):
				t.Errorf("%s, object %d: %v", name, i, err)
			}
		}
		t.Logf("%s: %d of %d objects were restored", name, restored, len(objects))
		if name == "40-none" && restored < 39 { // the empty one has no byte to be damaged
			t.Errorf("only %d were restored", restored)
		}
	}
}

// TestFit: a frame can be filled up to every larger size.
func TestFit(t *testing.T) {
	objects := [][]byte{[]byte("x"), content(5)}
	image := newImage(t, mosaic.Format{Zstd: true}, objects)
	for _, o := range objects {
		_, start, end, err := open(t, image).Element(formattest.ID(o))
		expect.NoError(t, err)
		frame := image[start:end]
		for n := range 40 {
			filled := mosaic.Fit(frame, int64(len(frame)+n))
			if len(filled) != len(frame)+n {
				t.Fatalf("%d bytes more: %d instead of %d", n, len(filled), len(frame)+n)
			}
			if !mosaic.Holds(open(t, image), filled, o) {
				t.Errorf("%d bytes more: %x is no frame", n, filled)
			}
		}
		if mosaic.Fit(frame, int64(len(frame)-1)) != nil {
			t.Error("a frame became shorter")
		}
	}
}
