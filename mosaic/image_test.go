// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"winery/format"
	"winery/format/formattest"
	"winery/mosaic"
	"winery/test/expect"
)

func TestMain(m *testing.M) {
	if os.Getenv(memoryChild) != "" {
		os.Exit(writeManyObjects())
	}
	goleak.VerifyTestMain(m)
}

// formats are what images can be written as.
var formats = map[string]mosaic.Format{
	"none":       {},
	"zstd":       {Zstd: true, Level: 3},
	"dictionary": {Zstd: true, Dictionary: true},
}

// TestFormat runs what every format must pass. What is particular to Mosaic is in the
// other tests.
func TestFormat(t *testing.T) {
	for name, f := range formats {
		t.Run(name, func(t *testing.T) {
			dictionaries := 0
			formattest.Run(t, noting{f, &dictionaries})
			if (dictionaries > 0) != f.Dictionary {
				t.Errorf("%d images with a dictionary were opened", dictionaries)
			}
			if d := open(t, newImage(t, f, contents(10))).Dictionary(); (d != nil) != f.Dictionary {
				t.Errorf("contents make a dictionary of %d bytes", len(d))
			}
		})
	}
}

// noting counts the opened images that have a dictionary.
type noting struct {
	mosaic.Format
	dictionaries *int
}

func (n noting) Open(src io.ReaderAt, size int64, name string) (format.Reader, error) {
	r, err := mosaic.Open(src, size, name)
	if err != nil {
		return nil, err
	}
	if r.Dictionary() != nil {
		*n.dictionaries++
	}
	return r, nil
}

type device = formattest.Device

// content is the i-th test object, a text of up to 3000 bytes: number 0 is empty. The
// others end alike, so that a dictionary can be made of several.
func content(i int) []byte {
	if i == 0 {
		return []byte{}
	}
	seed := sha256.Sum256(fmt.Appendf(nil, "object %d", i))
	text := strings.Repeat(fmt.Sprintf("int f%x(void);\n", seed[:8]), 1+i*7919%100)
	for line := range 8 {
		text += fmt.Sprintf("%x\n", sha256.Sum256(fmt.Appendf(nil, "line %d", line)))
	}
	return []byte(text)
}

func contents(n int) [][]byte {
	all := make([][]byte, n)
	for i := range all {
		all[i] = content(i)
	}
	return all
}

func write(t testing.TB, f mosaic.Format, dst io.WriterAt, limit int64, objects [][]byte) format.Info {
	t.Helper()
	w, err := mosaic.NewWriter(f, dst, limit)
	expect.NoError(t, err)
	defer w.Close()
	for _, o := range objects {
		expect.NoError(t, add(w, o))
	}
	info, err := w.Finish()
	expect.NoError(t, err)
	return info
}

// newImage returns an image of the objects, exactly as long as it is.
func newImage(t testing.TB, f mosaic.Format, objects [][]byte) device {
	t.Helper()
	size := int64(0)
	for _, o := range objects {
		size += int64(len(o))
	}
	d := make(device, f.SizeBound(int64(len(objects)), size))
	return d[:write(t, f, d, int64(len(d)), objects).Size]
}

func open(t testing.TB, d device) *mosaic.Reader {
	t.Helper()
	r, err := mosaic.Open(d, int64(len(d)), "test")
	expect.NoError(t, err)
	return r
}

func holds(t testing.TB, d device, objects [][]byte, deleted int64) {
	t.Helper()
	formattest.Holds(t, mosaic.Format{}, d, objects, deleted)
}

// pythons are the objects of testdata's images.
func pythons(n int) [][]byte {
	objects := [][]byte{{}, []byte("a")}
	for i := range 38 {
		objects = append(objects, []byte(strings.Repeat(fmt.Sprintf("object %d ", i+1), 7*(i+1))))
	}
	return objects[:n]
}

func python(t testing.TB, name string) device {
	t.Helper()
	b, err := os.ReadFile("testdata/python-" + name + ".mosaic")
	expect.NoError(t, err)
	return b
}

// testdata holds images that swh.mosaic wrote.
func TestPythonsImages(t *testing.T) {
	all := pythons(40)
	for name, objects := range map[string][][]byte{
		"0": nil, "40-none": all, "40-zstd3": all, "40-dict": all, "40-small-tiles": all,
		"40-zstd3-one-deleted": without(all, 0, 6),
	} {
		t.Run(name, func(t *testing.T) {
			d := python(t, name)
			deleted := int64(0)
			if strings.HasSuffix(name, "deleted") {
				deleted = 2
			}
			holds(t, d, objects, deleted)
			if info := open(t, d).Info(); info.Size != int64(len(d)) || info.Objects != int64(len(objects))+deleted {
				t.Errorf("%+v", info)
			}
			if len(objects) == 0 {
				return
			}
			n, err := mosaic.Format{}.Erase(t.Context(), d, int64(len(d)), "test", 2, formattest.IDs(objects[10:20]))
			if n != 10 || err != nil {
				t.Fatalf("erased %d, %v", n, err)
			}
			holds(t, d, append(objects[:10:10], objects[20:]...), deleted+10)
		})
	}
}

// TestSmallFingerprints: the perfect hash of a single key has few bits, and still
// images of different objects differ.
func TestSmallFingerprints(t *testing.T) {
	seen := map[[32]byte]byte{}
	for i := range byte(255) {
		sum := open(t, newImage(t, mosaic.Format{}, [][]byte{{i, i}})).Fingerprint()
		if other, ok := seen[sum]; ok {
			t.Fatalf("images of %d and of %d have the same fingerprint", other, i)
		}
		seen[sum] = i
	}
}

// without returns the objects but those with some numbers.
func without(objects [][]byte, numbers ...int) [][]byte {
	var left [][]byte
	for i, o := range objects {
		omit := false
		for _, n := range numbers {
			omit = omit || n == i
		}
		if !omit {
			left = append(left, o)
		}
	}
	return left
}

// TestTiles has objects that end where a tile or a block does, and that are compressed
// as they stream.
func TestTiles(t *testing.T) {
	random := make([]byte, 5<<20) // which does not compress
	for i := range random {
		random[i] = byte(i * i >> 7 * 31)
	}
	objects := [][]byte{{}}
	for i := range byte(16) {
		random[0] = i
		objects = append(objects, bytes.Clone(random[:len(random)-int(i)]), bytes.Repeat([]byte{i, i + 1}, 1<<20), []byte{i})
	}
	for name, f := range formats {
		t.Run(name, func(t *testing.T) { holds(t, newImage(t, f, objects), objects, 0) })
	}
}

// TestGetReadsTwice: an object of an open image takes two reads, of which the first is
// small.
func TestGetReadsTwice(t *testing.T) {
	for name, f := range formats {
		objects := contents(1000)
		image := newImage(t, f, objects)
		src := &counting{ReaderAt: image}
		r, err := mosaic.Open(src, int64(len(image)), "counted")
		expect.NoError(t, err)
		src.reads = 0
		for _, o := range objects {
			if _, err := r.Get(formattest.ID(o)); err != nil {
				t.Fatal(err)
			}
		}
		if src.reads != 2*len(objects) {
			t.Errorf("%s: %d reads for %d objects", name, src.reads, len(objects))
		}
		src.bytes = 0
		size, _, err := r.GetUpTo(formattest.ID(objects[7]), -1)
		if size != int64(len(objects[7])) || err != nil || src.bytes > 100 {
			t.Errorf("%s: size %d, %v, in %d bytes", name, size, err, src.bytes)
		}
	}
}

type counting struct {
	io.ReaderAt
	reads, bytes int
}

func (c *counting) ReadAt(p []byte, at int64) (int, error) {
	c.reads++
	c.bytes += len(p)
	return c.ReaderAt.ReadAt(p, at)
}

func TestVerifyStops(t *testing.T) {
	d := newImage(t, mosaic.Format{}, contents(5000))
	ctx, cancel := context.WithCancel(context.Background())
	_, err := open(t, d).Verify(ctx, func(int64) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

// TestKeysStops: who has seen enough, gets nothing more.
func TestKeysStops(t *testing.T) {
	r := open(t, newImage(t, mosaic.Format{}, contents(100)))
	n := 0
	for _, err := range r.Keys(context.Background()) {
		if n++; n == 10 || err != nil {
			break
		}
	}
	if n != 10 {
		t.Errorf("%d keys", n)
	}
}

// TestGetLarge reads objects that Get does not take at once.
func TestGetLarge(t *testing.T) {
	objects := [][]byte{bytes.Repeat([]byte("0123456789abcdef"), 5<<20), bytes.Repeat([]byte("x"), 65<<20)}
	for name, f := range formats {
		r := open(t, newImage(t, f, objects))
		for i, o := range objects {
			size, got, err := r.GetUpTo(formattest.ID(o), math.MaxInt64)
			if size != int64(len(o)) || !bytes.Equal(got, o) || err != nil {
				t.Errorf("%s, object %d: %d bytes instead of %d, %v", name, i, size, len(o), err)
			}
		}
	}
}
