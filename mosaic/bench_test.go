// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"winery/format"
	"winery/format/formattest"
	"winery/mosaic"
	"winery/test/expect"
)

const (
	benchObjects = 20_000
	benchSize    = 9_000 // mean size of an object in an archive of source code
)

// benchContents are texts of words, of 0 to 18 kB, which compress as source code does.
func benchContents() [][]byte {
	random := rand.New(rand.NewPCG(1, 2))
	words := make([]string, 5000)
	for i := range words {
		words[i] = fmt.Sprintf("%c%x ", 'a'+i%26, random.Uint32()>>(8+random.IntN(16)))
	}
	objects := make([][]byte, benchObjects)
	for i := range objects {
		for size := random.IntN(2 * benchSize); len(objects[i]) < size; {
			objects[i] = append(objects[i], words[int(random.ExpFloat64()*500)%len(words)]...)
		}
	}
	return objects
}

// benchImage writes an image to a file.
func benchImage(b *testing.B, f mosaic.Format, objects [][]byte) (*os.File, format.Info) {
	b.Helper()
	file, err := os.Create(filepath.Join(b.TempDir(), "image"))
	expect.NoError(b, err)
	b.Cleanup(func() { _ = file.Close() })
	return file, write(b, f, file, 1<<40, objects)
}

// each runs a benchmark for each of the methods.
func each(b *testing.B, run func(b *testing.B, f mosaic.Format, objects [][]byte)) {
	objects := benchContents()
	for _, name := range []string{"none", "zstd", "dictionary"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			run(b, formats[name], objects)
		})
	}
}

// BenchmarkWrite writes and hashes for the ids.
func BenchmarkWrite(b *testing.B) {
	each(b, func(b *testing.B, f mosaic.Format, objects [][]byte) {
		b.SetBytes(size(objects))
		for b.Loop() {
			_, info := benchImage(b, f, objects)
			b.ReportMetric(100*float64(info.Size)/float64(size(objects)), "%size")
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	each(b, func(b *testing.B, f mosaic.Format, objects [][]byte) {
		file, info := benchImage(b, f, objects)
		r, err := mosaic.Open(file, info.Size, "bench")
		expect.NoError(b, err)
		b.SetBytes(size(objects))
		for b.Loop() {
			_, err := r.Verify(context.Background(), nil)
			expect.NoError(b, err)
		}
	})
}

func BenchmarkGet(b *testing.B) {
	each(b, func(b *testing.B, f mosaic.Format, objects [][]byte) {
		file, info := benchImage(b, f, objects)
		r, err := mosaic.Open(file, info.Size, "bench")
		expect.NoError(b, err)
		ids := formattest.IDs(objects)
		rand.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
		b.SetBytes(size(objects) / int64(len(ids)))
		b.RunParallel(func(pb *testing.PB) {
			for i := rand.IntN(len(ids)); pb.Next(); i++ {
				if _, err := r.Get(ids[i%len(ids)]); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}

func BenchmarkOpen(b *testing.B) {
	each(b, func(b *testing.B, f mosaic.Format, objects [][]byte) {
		file, info := benchImage(b, f, objects)
		for b.Loop() {
			_, err := mosaic.Open(file, info.Size, "bench")
			expect.NoError(b, err)
		}
	})
}

// BenchmarkErase erases 1000 objects.
func BenchmarkErase(b *testing.B) {
	each(b, func(b *testing.B, f mosaic.Format, objects [][]byte) {
		image := newImage(b, f, objects)
		for b.Loop() {
			d := device(bytes.Clone(image))
			_, err := f.Erase(context.Background(), d, int64(len(d)), "bench", 8, formattest.IDs(objects[5000:6000]))
			expect.NoError(b, err)
		}
	})
}
