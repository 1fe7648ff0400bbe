// SPDX-License-Identifier: GPL-3.0-or-later

package formattest

import (
	"bytes"
	"errors"
	"io"
	"math"
	"testing"

	"winery/format"
	"winery/test/expect"
)

// cachedHead: all objects are read by a cached head, with two reads of the image.
func cachedHead(t *testing.T, f format.Format) {
	for _, n := range []int{0, 1, 2, 40, 3000} {
		objects := contents(n)
		image := newImage(t, f, objects)
		head, counted := &countedReads{ReaderAt: Device(open(t, f, image).CacheHead())}, &countedReads{ReaderAt: image}
		g, err := f.OpenCached(head, counted, "test")
		expect.NoError(t, err)
		if counted.reads != 0 {
			t.Errorf("opening read the image %d times", counted.reads)
		}
		head.bytes = 0
		for i, o := range objects {
			sameContent(t, g, i, o)
			if size, _, err := g.GetUpTo(ID(o), -1); size != int64(len(o)) || err != nil {
				t.Fatalf("object %d: size %d instead of %d, %v", i, size, len(o), err)
			}
		}
		if lookups := 2 * n; counted.reads > 2*lookups || head.bytes > 100*lookups {
			t.Errorf("%d lookups read the image %d times, and %d bytes of the head", lookups, counted.reads, head.bytes)
		}
		if _, _, err := g.GetUpTo(ID([]byte("absent")), math.MaxInt64); !errors.Is(err, format.ErrStaleHead) || errors.Is(err, format.ErrNotFound) {
			t.Errorf("an absent object: %v", err)
		}
	}
}

// cachedHeadAfterErase: a head from before an erasure leads to all objects that are left.
func cachedHeadAfterErase(t *testing.T, f format.Format) {
	objects := contents(40)
	image := newImage(t, f, objects)
	head := open(t, f, image).CacheHead()
	eraseIn(t, f, image, objects[10:20])
	g, err := f.OpenCached(Device(head), image, "test")
	expect.NoError(t, err)
	for i, o := range objects {
		if 10 <= i && i < 20 {
			if _, _, err := g.GetUpTo(ID(o), math.MaxInt64); !errors.Is(err, format.ErrStaleHead) {
				t.Errorf("erased object %d: %v", i, err)
			}
			continue
		}
		sameContent(t, g, i, o)
	}
	if !bytes.Equal(open(t, f, image).CacheHead(), head) {
		t.Error("erasing changed the head")
	}
}

// damagedHead: whichever bit of a head changes, wherever it is cut off and whatever
// image it is of, a Getter returns the object or ErrStaleHead.
func damagedHead(t *testing.T, f format.Format) {
	objects := contents(40)
	image := newImage(t, f, objects)
	head := open(t, f, image).CacheHead()
	stale := 0
	check := func(what string, at int, head []byte) {
		g, err := f.OpenCached(Device(head), image, "test")
		for i := 0; err == nil && i < len(objects); i++ {
			size, content, getErr := g.GetUpTo(ID(objects[i]), math.MaxInt64)
			if err = getErr; err == nil && (size != int64(len(objects[i])) || !bytes.Equal(content, objects[i])) {
				t.Fatalf("%s %d: object %d has %d bytes instead of %d", what, at, i, size, len(objects[i]))
			}
		}
		if err != nil {
			stale++
		}
		if err != nil && (!errors.Is(err, format.ErrStaleHead) || errors.As(err, new(*format.DamageError))) {
			t.Fatalf("%s %d: %v", what, at, err)
		}
	}
	for bit := range 8 * len(head) {
		damaged := bytes.Clone(head)
		damaged[bit/8] ^= 1 << (bit % 8)
		check("bit", bit, damaged)
	}
	for length := range len(head) {
		check("cut off at", length, head[:length])
		check("zeros from", length, append(bytes.Clone(head[:length]), make([]byte, len(head)-length)...))
	}
	for n := range 60 {
		check("head of an image of objects", n, open(t, f, newImage(t, f, contents(n))).CacheHead())
	}
	if stale < 100 {
		t.Errorf("only %d heads were stale", stale)
	}
}

// unreadableImage: an error of the device is not the head's.
func unreadableImage(t *testing.T, f format.Format) {
	objects := contents(40)
	broken := errors.New("the device is broken")
	g, err := f.OpenCached(Device(open(t, f, newImage(t, f, objects)).CacheHead()), failingReads{broken}, "test")
	expect.NoError(t, err)
	if _, _, err := g.GetUpTo(ID(objects[7]), math.MaxInt64); !errors.Is(err, broken) || errors.Is(err, format.ErrStaleHead) {
		t.Errorf("want the device's error, got %v", err)
	}
}

func sameContent(t *testing.T, g format.Getter, i int, want []byte) {
	t.Helper()
	size, content, err := g.GetUpTo(ID(want), math.MaxInt64)
	if err != nil || size != int64(len(want)) || !bytes.Equal(content, want) {
		t.Fatalf("object %d: %d bytes instead of %d, %v", i, len(content), len(want), err)
	}
}

// countedReads counts reads and their bytes. It is for one goroutine.
type countedReads struct {
	io.ReaderAt
	reads, bytes int
}

func (c *countedReads) ReadAt(p []byte, at int64) (int, error) {
	c.reads++
	c.bytes += len(p)
	return c.ReaderAt.ReadAt(p, at)
}

type failingReads struct{ err error }

func (f failingReads) ReadAt([]byte, int64) (int, error) { return 0, f.err }
