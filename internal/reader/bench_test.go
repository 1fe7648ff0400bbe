// SPDX-License-Identifier: GPL-3.0-or-later

package reader_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"winery/internal/reader"
	"winery/sharedbase"
)

// BenchmarkRead reads 10,000 objects of 9 kB at random, one a call.
func BenchmarkRead(b *testing.B) {
	f := newFixture(b)
	all := objects(10_000, strings.Repeat("some text ", 900))
	claim := f.write(all...)
	r := f.reader(10)
	get := func(ctx context.Context, id sharedbase.ObjID) error {
		_, err := r.Get(ctx, id, nil)
		return err
	}
	reads(b, "contains", all, func(ctx context.Context, id sharedbase.ObjID) error {
		_, err := r.Contains(ctx, id)
		return err
	})
	reads(b, "table", all, get)
	f.pack(claim)
	reads(b, "image", all, get)
}

func reads(b *testing.B, from string, all []sharedbase.Object, read func(context.Context, sharedbase.ObjID) error) {
	for _, clients := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("%s/clients=%d", from, clients), func(b *testing.B) {
			b.ReportAllocs()
			var next atomic.Int64
			var running sync.WaitGroup
			for range clients {
				running.Go(func() {
					for next.Add(1) <= int64(b.N) {
						if err := read(b.Context(), all[rand.IntN(len(all))].ID); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			running.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "objects/s")
		})
	}
}

// BenchmarkCold reads one object of each image in turn, of images with 250,000 objects,
// so that a get always opens an image.
func BenchmarkCold(b *testing.B) {
	const images, each, indexed = 8, 250_000, 100
	f, dir := newFixture(b), b.TempDir()
	var all [images][]sharedbase.Object
	for i := range all {
		all[i] = objects(each, fmt.Sprint("image ", i))
		name := fmt.Sprintf("%032x", i)
		f.imageOf(name, all[i])
		all[i] = all[i][:indexed]
		_, err := f.base.ImportShard(b.Context(), name, "shards", sharedbase.ImageRecord{Objects: each}, keysOf(all[i]))
		f.must(err)
	}
	cold := func(b *testing.B, r *reader.Reader) {
		defer r.Close()
		i := 0
		get := func() {
			o := all[i%images][i/images%indexed]
			if _, err := r.Get(b.Context(), o.ID, nil); err != nil {
				b.Fatal(err)
			}
			i++
		}
		for len(heads(b, dir)) < images && i < 10*images {
			get()
		}
		b.ReportAllocs()
		for b.Loop() {
			get()
		}
	}
	b.Run("hash=image", func(b *testing.B) { cold(b, f.reader(1)) })
	b.Run("hash=cache", func(b *testing.B) { cold(b, f.coldReader(1, dir)) })
}
