// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/klauspost/compress/zstd"

	"winery/format"
	"winery/format/formattest"
	"winery/mosaic"
	"winery/test/corrupt"
	"winery/test/expect"
)

// TestDamage: the error names the place.
func TestDamage(t *testing.T) {
	objects := contents(40)
	image := newImage(t, mosaic.Format{Zstd: true}, objects)
	metadata, tiles, index, entries, tail := open(t, image).Parts()
	begin, _ := elementOf(t, image, objects[20])
	entry, _ := open(t, image).EntryRange(formattest.ID(objects[20]))
	for name, test := range map[string]struct{ at, offset int64 }{
		"EBML header":     {3, 0},
		"head of Mosaic":  {39, 38},
		"counter":         {metadata + 16, metadata},
		"method":          {metadata + 43, metadata},
		"head of a tile":  {tiles + 1, tiles},
		"sum of a tile":   {tiles + 11, tiles + 8},
		"size of object":  {begin + 1, begin},
		"content":         {begin + 6, begin},
		"head of index":   {index + 2, index},
		"sum of index":    {index + 8, index + 6},
		"description":     {index + 30, index + 12},
		"key":             {entry + 5, entry},
		"type of a key":   {entry, entry},
		"head of entries": {entries - 4, entries - 4},
		"size of entry":   {tail + 3, tail},
		"perfect hash":    {int64(len(image)) - 20, -1},
	} {
		d := bytes.Clone(image)
		d[test.at] ^= 2
		err := check(t, d, objects)
		damage, ok := errors.AsType[*format.DamageError](err)
		if !ok || test.offset >= 0 && damage.Offset != test.offset {
			t.Errorf("%s: expected byte %d, got %v", name, test.offset, err)
		}
	}
}

// An image that was cut off at any byte does not open, however large its device
// is said to be.
func TestTruncated(t *testing.T) {
	for name, f := range formats {
		image := newImage(t, f, contents(10))
		for n := range image {
			for _, size := range []int{n, len(image)} {
				if _, err := mosaic.Open(image[:n], int64(size), "short"); !errors.As(err, new(*format.DamageError)) {
					t.Fatalf("%s, with %d bytes of %d: %v", name, n, len(image), err)
				}
			}
		}
	}
}

// An image that is cut off once it is open gives the right bytes, or an error.
func TestTruncatedWhileOpen(t *testing.T) {
	objects := flipObjects()
	image := newImage(t, mosaic.Format{Zstd: true}, objects)
	src := &cutShort{image, len(image)}
	r, err := mosaic.Open(src, int64(len(image)), "short")
	expect.NoError(t, err)
	_, _, _, _, tail := r.Parts()
	for src.end = 0; src.end < int(tail); src.end += 5 {
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

// Some random changes at once.
func TestRandomDamage(t *testing.T) {
	objects := contents(60)
	random := corrupt.Random(t)
	for _, f := range formats {
		image := newImage(t, f, objects)
		for range 500 {
			d := bytes.Clone(image)
			for n := random.IntN(4); n >= 0 && len(d) > 0; n-- {
				d, _ = corrupt.Mutate(random, d)
			}
			_ = check(t, d, objects)
		}
	}
}

// Frames of level 22 have windows as large as the object, and can be read.
func TestLargeWindow(t *testing.T) {
	object := bytes.Repeat([]byte("0123456789abcdef"), 5<<20)
	d := make(device, 1<<20)
	w, err := zstd.NewWriter(nil, zstd.WithWindowSize(128<<20), zstd.WithSingleSegment(true), zstd.WithEncoderConcurrency(1))
	expect.NoError(t, err)
	frame := w.EncodeAll(object, nil)
	d = disguised(t, d, object, frame)
	if got, err := open(t, d).Get(formattest.ID(object)); !bytes.Equal(got, object) || err != nil {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	holds(t, d, [][]byte{object}, 0)
}

// disguised returns an image that has a frame as the compressed form of an object.
func disguised(t *testing.T, d device, object, frame []byte) device {
	t.Helper()
	w := newWriter(t, mosaic.Format{}, d, int64(len(d)))
	expect.NoError(t, w.Add(formattest.ID(object), int64(len(frame)), bytes.NewReader(frame)))
	info, err := w.Finish()
	expect.NoError(t, err)
	metadata, tiles, _, _, _ := open(t, d[:info.Size]).Parts()
	at := int64(bytes.Index(d[metadata:], []byte("none"))) + metadata
	copy(d[at:], "zstd")
	binary.BigEndian.PutUint64(d[metadata+20:], uint64(len(object)))
	binary.LittleEndian.PutUint32(d[metadata+2:], mosaic.CRC(d[metadata+6:tiles]))
	return d[:info.Size]
}

// segment returns a frame of one segment that announces a size, with these blocks.
func segment(size uint64, blocks []byte) []byte {
	return append(binary.LittleEndian.AppendUint64([]byte("\x28\xb5\x2f\xfd\xe0"), size), blocks...)
}

// repeated is a block of 128 KiB.
var repeated = []byte{2, 0, 16, 'x'}

// The smallest frame that a content can have, of 4 bytes a block, is read.
func TestSmallestFrame(t *testing.T) {
	object := bytes.Repeat([]byte{'x'}, 8*128<<10)
	blocks := bytes.Repeat(repeated, 8)
	blocks[7*4]++ // the last block
	holds(t, disguised(t, make(device, 1<<20), object, segment(8*128<<10, blocks)), [][]byte{object}, 0)
}

// A size that an object announces is not believed: Get must not allocate what it says,
// nor read the frame in small pieces.
func TestHugeSizeIsNotBelieved(t *testing.T) {
	object := []byte("whatever")
	empty := make([]byte, 2<<20) // blocks without content
	for what, stored := range map[string][]byte{
		"30 MiB of 25 bytes":       segment(30<<20, bytes.Repeat(repeated, 3)),
		"100 MiB in one block":     segment(100<<20, append([]byte{1, 0, 0}, empty...)),
		"100 MiB in empty blocks":  segment(100<<20, empty),
		"a TiB in empty blocks":    segment(1<<40, empty),
		"100 MiB in too few bytes": segment(100<<20, bytes.Repeat(repeated, 500)),
	} {
		d := &counted{device: disguised(t, make(device, 4<<20), object, stored)}
		r, err := mosaic.Open(d, int64(len(d.device)), "test")
		expect.NoError(t, err)
		for call, try := range map[string]func() error{
			"Get":    func() error { _, err := r.Get(formattest.ID(object)); return err },
			"Check":  func() error { _, err := r.Check(t.Context(), formattest.ID(object)); return err },
			"Verify": func() error { _, err := r.Verify(t.Context(), nil); return err },
		} {
			d.reads = 0
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			if err := try(); !errors.As(err, new(*format.DamageError)) {
				t.Errorf("%s, %s: got %v", what, call, err)
			}
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > 8<<20 {
				t.Errorf("%s, %s: allocated %d bytes", what, call, n)
			}
			if d.reads > 50 {
				t.Errorf("%s, %s: %d reads", what, call, d.reads)
			}
		}
	}
}

// counted counts reads.
type counted struct {
	device
	reads int64
}

func (c *counted) ReadAt(p []byte, at int64) (int, error) {
	atomic.AddInt64(&c.reads, 1)
	return c.device.ReadAt(p, at)
}

// TestBomb: a frame without a size, of blocks that each stand for many bytes, ends at the
// size of the largest object.
func TestBomb(t *testing.T) {
	blocks := bytes.Repeat(repeated, 5000)
	frame := append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0x58}, blocks...)
	object := []byte("whatever")
	for what, stored := range map[string][]byte{"a bomb": frame, "nothing": nil} {
		d := disguised(t, make(device, 1<<20), object, stored)
		if _, err := open(t, d).Get(formattest.ID(object)); !errors.As(err, new(*format.DamageError)) {
			t.Errorf("%s: got %v", what, err)
		}
	}
}
