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
