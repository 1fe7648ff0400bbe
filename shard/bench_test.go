// SPDX-License-Identifier: GPL-3.0-or-later

package shard_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"winery/format"
	"winery/format/formattest"
	"winery/shard"
)

const (
	benchObjects = 60_000
	benchSize    = 9_000 // mean size of an object in an archive of source code
)

// benchImage writes an image of objects of 0 to 18 kB to a file.
func benchImage(b *testing.B) (*os.File, format.Info, []format.ObjID) {
	b.Helper()
	f, err := os.Create(filepath.Join(b.TempDir(), "image"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = f.Close() })
	info, ids := benchWrite(b, f)
	return f, info, ids
}

func benchWrite(b *testing.B, f *os.File) (format.Info, []format.ObjID) {
	w, err := shard.NewWriter(f, 1<<40)
	if err != nil {
		b.Fatal(err)
	}
	defer w.Close()
	random := rand.New(rand.NewPCG(1, 2))
	object, reader := make([]byte, 2*benchSize), new(bytes.Reader)
	ids := make([]format.ObjID, benchObjects)
	for i := range ids {
		binary.BigEndian.PutUint64(object, uint64(i))
		o := object[:8+random.IntN(len(object)-8)]
		ids[i] = formattest.ID(o)
		reader.Reset(o)
		if err := w.Add(ids[i], int64(len(o)), reader); err != nil {
			b.Fatal(err)
		}
	}
	info, err := w.Finish()
	if err != nil {
		b.Fatal(err)
	}
	return info, ids
}

// BenchmarkWrite writes half a gigabyte, and hashes it for the ids.
func BenchmarkWrite(b *testing.B) {
	f, info, _ := benchImage(b)
	b.SetBytes(info.Size)
	b.ReportAllocs()
	for b.Loop() {
		benchWrite(b, f)
	}
}

func BenchmarkVerify(b *testing.B) {
	f, info, _ := benchImage(b)
	r, err := shard.Open(f, info.Size, "bench")
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(info.Size)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Verify(context.Background(), nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	f, info, ids := benchImage(b)
	r, err := shard.Open(f, info.Size, "bench")
	if err != nil {
		b.Fatal(err)
	}
	rand.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	b.SetBytes(info.ObjectsSize / int64(len(ids)))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := rand.IntN(len(ids)); pb.Next(); i++ {
			if _, err := r.Get(ids[i%len(ids)]); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	f, info, _ := benchImage(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := shard.Open(f, info.Size, "bench"); err != nil {
			b.Fatal(err)
		}
	}
}
