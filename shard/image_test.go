// SPDX-License-Identifier: GPL-3.0-or-later

package shard_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"winery/format"
	"winery/format/formattest"
	"winery/shard"
)

func TestMain(m *testing.M) {
	if os.Getenv(memoryChild) != "" {
		os.Exit(writeManyObjects())
	}
	goleak.VerifyTestMain(m)
}

var swhshard shard.Format

// TestFormat runs what every format must pass. What is particular to SWHShard is in
// the other tests.
func TestFormat(t *testing.T) { formattest.Run(t, swhshard) }

type device = formattest.Device

// content is the i-th test object, as testdata/interop.py has it: number 0 is
// empty, number 30000 and its multiples have 10 MiB and some, the others 16 to
// 5015 bytes.
func content(i int) []byte {
	if i == 0 {
		return []byte{}
	}
	seed := sha256.Sum256(fmt.Appendf(nil, "object %d", i))
	size := 16 + i*7919%5000
	if i%30000 == 0 {
		size = 10<<20 + i
	}
	return bytes.Repeat(seed[:], size/32+1)[:size]
}

func contents(n int) [][]byte {
	all := make([][]byte, n)
	for i := range all {
		all[i] = content(i)
	}
	return all
}

func write(t testing.TB, dst io.WriterAt, limit int64, objects [][]byte) format.Info {
	t.Helper()
	w, err := shard.NewWriter(dst, limit)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for _, o := range objects {
		if err := w.Add(formattest.ID(o), int64(len(o)), bytes.NewReader(o)); err != nil {
			t.Fatal(err)
		}
	}
	info, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// newImage returns an image of the objects, exactly as long as it is.
func newImage(t testing.TB, objects [][]byte) device {
	t.Helper()
	size := 1<<14 + 100*len(objects)
	for _, o := range objects {
		size += len(o)
	}
	d := make(device, size)
	return d[:write(t, d, int64(size), objects).Size]
}

func open(t testing.TB, d device) *shard.Reader {
	t.Helper()
	r, err := shard.Open(d, int64(len(d)), "test")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// sample checks n objects.
func sample(r *shard.Reader, n int) error {
	ids, err := r.Pick(context.Background(), n)
	for _, id := range ids {
		if err == nil {
			_, err = r.Check(context.Background(), id)
		}
	}
	return err
}

func holds(t testing.TB, d device, objects [][]byte, deleted int64) {
	t.Helper()
	formattest.Holds(t, swhshard, d, objects, deleted)
}

// TestBlocks has objects that end where a block or the first read of an object does.
func TestBlocks(t *testing.T) {
	for name, objects := range map[string][][]byte{
		"5000":        contents(5000),
		"at a block":  {make([]byte, 4<<20-512-8), []byte("next block")},
		"over a head": {make([]byte, 16<<10-8), make([]byte, 16<<10-7), make([]byte, 16<<10-9)},
	} {
		t.Run(name, func(t *testing.T) { holds(t, newImage(t, objects), objects, 0) })
	}
}

func TestDirectoryFile(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "image"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info := write(t, f, 1<<30, contents(3000))
	r, err := shard.Open(f, info.Size, "file")
	if err != nil {
		t.Fatal(err)
	}
	if r.Info() != info {
		t.Fatalf("wrote %+v, read %+v", info, r.Info())
	}
	if _, err := r.Verify(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
}

func TestGetReadsTwice(t *testing.T) {
	objects := contents(1000)
	src := &counting{ReaderAt: newImage(t, objects)}
	r, err := shard.Open(src, 1<<40, "counted")
	if err != nil {
		t.Fatal(err)
	}
	src.reads = 0
	for _, o := range objects {
		if _, err := r.Get(formattest.ID(o)); err != nil {
			t.Fatal(err)
		}
	}
	if src.reads != 2*len(objects) {
		t.Fatalf("%d reads for %d objects", src.reads, len(objects))
	}
}

// TestGetUpTo asks for sizes, which takes no more than an entry and a length of
// each, and for contents up to a size.
func TestGetUpTo(t *testing.T) {
	objects := [][]byte{{}, []byte("small"), bytes.Repeat([]byte("large"), 100_000)}
	src := &counting{ReaderAt: newImage(t, objects)}
	r, err := shard.Open(src, 1<<40, "counted")
	if err != nil {
		t.Fatal(err)
	}
	for i, o := range objects {
		src.reads, src.bytes = 0, 0
		size, content, err := r.GetUpTo(formattest.ID(o), -1)
		if size != int64(len(o)) || content != nil || err != nil || src.reads != 2 || src.bytes != 40+8 {
			t.Errorf("object %d: size %d, %v, in %d reads of %d bytes", i, size, err, src.reads, src.bytes)
		}
		for _, atMost := range []int64{0, size - 1, size, size + 1, math.MaxInt64} {
			got, content, err := r.GetUpTo(formattest.ID(o), max(atMost, 0))
			if within := size <= max(atMost, 0); err != nil || got != size || (content != nil) != within || within && !bytes.Equal(content, o) {
				t.Errorf("object %d up to %d: size %d, content of %d bytes, %v", i, atMost, got, len(content), err)
			}
		}
	}
	if _, _, err := r.GetUpTo(formattest.ID([]byte("none")), -1); !errors.Is(err, format.ErrNotFound) {
		t.Errorf("a missing object: %v", err)
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
	d := newImage(t, contents(5000))
	ctx, cancel := context.WithCancel(context.Background())
	_, err := open(t, d).Verify(ctx, func(int64) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

func TestKeysStops(t *testing.T) {
	r := open(t, newImage(t, contents(100)))
	n := 0
	for _, err := range r.Keys(context.Background()) {
		if n++; n == 10 || err != nil {
			break
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, err := range r.Keys(ctx) {
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v", err)
		}
	}
}
